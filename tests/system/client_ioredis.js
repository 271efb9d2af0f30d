// SPDX-License-Identifier: BSD-2-Clause
// What a user of ioredis does with yoked: node client_ioredis.js PORT
'use strict';
const assert = require('assert');
const Redis = require('ioredis');

function map(flat) {
    const out = {};
    for (let i = 0; i < flat.length; i += 2)
        out[flat[i]] = flat[i + 1];
    return out;
}

async function main(port) {
    const client = new Redis(port, '127.0.0.1', {maxRetriesPerRequest: 0});
    const worker = client.duplicate();

    assert.equal(await client.ping(), 'PONG');
    assert.equal(await client.echo('x'), 'x');

    // A worker that waits, and a job that comes.
    const fetched = worker.call('FETCH', 1, 10000, 'mail');
    const job = await client.call('SUBMIT', 'mail', 'hello', 'NAME', 'first');
    const [[kind, token, queue, payload, rest]] = await fetched;
    assert.deepEqual([kind, token, queue, payload],
                     ['job', job + '.1', 'mail', 'hello']);
    assert.equal(map(rest).name, 'first');
    const waited = client.call('WAIT', job, 10000);
    assert.equal(await worker.call('DONE', token, Buffer.from([0, 255])), 'OK');
    assert.equal(map(await waited).outcome, 'ok');
    const raw = await client.callBuffer('RESULT', job);
    assert(raw.some((x) => Buffer.isBuffer(x) && x.equals(Buffer.from([0, 255]))));

    // Errors are errors, in a pipeline, too.
    await assert.rejects(worker.call('DONE', token), /^ReplyError: STALE/);
    const pipeline = client.pipeline();
    for (let i = 0; i < 500; i++)
        pipeline.call('SUBMIT', 'mail', String(i));
    pipeline.call('NONSENSE');
    pipeline.ping();
    const answers = await pipeline.exec();
    assert.equal(new Set(answers.slice(0, 500).map(([, id]) => id)).size, 500);
    assert.match(answers[500][0].message, /^ERR /);
    assert.equal(answers[501][1], 'PONG');

    // A group whose cancel reaches the one that runs.
    const group = await client.call('GROUP', 'OPEN', 'FAIL', 1);
    const member = await client.call('SUBMIT', 'work', 'x', 'GROUP', group);
    const [got] = await worker.call('FETCH', 1, 10000, 'work');
    const told = worker.call('FETCH', 0, 10000);
    assert.equal(await client.call('CANCEL', group, 'REASON', 'enough'), 'OK');
    assert.deepEqual((await told)[0].slice(0, 3), ['cancel', got[1], 'enough']);
    await worker.call('FAIL', got[1], 'cancelled', 'as asked');
    const info = map(await client.call('GROUP', 'WAIT', group, 10000));
    assert.deepEqual([info.outcome, info.cancelled], ['cancelled', 1]);
    assert.equal(map(await client.call('STATUS', member)).state, 'finished');

    // A subscriber.
    const subscriber = client.duplicate();
    const events = [];
    const ended = new Promise((resolve) => {
        subscriber.on('pmessage', (pattern, channel, message) => {
            events.push(JSON.parse(message));
            assert.deepEqual([pattern, channel], ['queue:li*', 'queue:listen']);
            if (events.at(-1).event === 'ended')
                resolve();
        });
    });
    assert.equal(await subscriber.psubscribe('queue:li*'), 1);
    assert.equal(await subscriber.subscribe('job:none'), 2);
    const seen = await client.call('SUBMIT', 'listen', 'x');
    await client.call('CANCEL', seen);
    await ended;
    assert.deepEqual(events.map((e) => [e.event, e.id]),
                     [['accepted', seen], ['ended', seen]]);
    assert.equal(await subscriber.unsubscribe('job:none'), 1);
    await subscriber.quit();

    await client.quit();
    await worker.quit();
    console.log('all is well');
}

main(Number(process.argv[2]));
