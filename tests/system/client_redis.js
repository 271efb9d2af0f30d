// SPDX-License-Identifier: BSD-2-Clause
// What a user of node-redis does with yoked: node client_redis.js PORT 2|3
'use strict';
const assert = require('assert');
const {createClient} = require('redis');

// RESP3 has maps, RESP2 names and values in turn.
function map(value) {
    if (!Array.isArray(value))
        return value instanceof Map ? Object.fromEntries(value) : value;
    const out = {};
    for (let i = 0; i < value.length; i += 2)
        out[value[i]] = value[i + 1];
    return out;
}

async function main(port, version) {
    const options = {
        socket: {host: '127.0.0.1', port, reconnectStrategy: false},
        RESP: version,
    };
    const client = createClient(options);
    const worker = createClient(options);
    await client.connect();
    await worker.connect();

    assert.equal(await client.ping(), 'PONG');
    assert.equal(await client.echo('x'), 'x');

    const fetched = worker.sendCommand(['FETCH', '1', '10000', 'mail']);
    const job = await client.sendCommand(['SUBMIT', 'mail', 'hello']);
    const [[kind, token, queue, payload, rest]] = await fetched;
    assert.deepEqual([kind, token, queue, payload],
                     ['job', job + '.1', 'mail', 'hello']);
    assert.equal(Array.isArray(rest), version === 2);
    assert.equal(map(rest).attempt, 1);
    assert.equal(await worker.sendCommand(['DONE', token, 'fine']), 'OK');
    const outcome = await client.sendCommand(['RESULT', job]);
    assert.equal(Array.isArray(outcome), version === 2);
    assert.equal(map(outcome).result, 'fine');
    assert.equal(map(outcome).reason, null);

    await assert.rejects(worker.sendCommand(['DONE', token]), /STALE/);
    await assert.rejects(client.sendCommand(['SUBMIT', 'mail']), /ERR/);

    // What is sent in one turn of the loop goes out as a pipeline.
    const ids = await Promise.all(Array.from({length: 500}, (_, i) =>
        client.sendCommand(['SUBMIT', 'mail', String(i)])));
    assert.equal(new Set(ids).size, 500);
    const jobs = await worker.sendCommand(['FETCH', '500', '0', 'mail']);
    assert.deepEqual(jobs.map((j) => j[3]), ids.map((_, i) => String(i)));
    await Promise.all(jobs.map((j) => worker.sendCommand(['DONE', j[1]])));

    const subscriber = client.duplicate();
    await subscriber.connect();
    const events = [];
    await new Promise((resolve, reject) => {
        subscriber.pSubscribe('queue:li*', (message, channel) => {
            events.push([channel, JSON.parse(message).event]);
            if (events.length === 2)
                resolve();
        }).then(() => subscriber.subscribe('job:none', () => reject()))
            .then(() => client.sendCommand(['SUBMIT', 'listen', 'x']))
            .then((id) => client.sendCommand(['CANCEL', id]))
            .catch(reject);
    });
    assert.deepEqual(events, [['queue:listen', 'accepted'],
                              ['queue:listen', 'ended']]);
    await subscriber.pUnsubscribe('queue:li*');
    await subscriber.unsubscribe('job:none');
    await subscriber.close();

    await client.close();
    await worker.close();
    console.log('all is well');
}

main(Number(process.argv[2]), Number(process.argv[3]));
