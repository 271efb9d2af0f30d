#!/usr/bin/env node
// SPDX-License-Identifier: BSD-2-Clause
// worker.js URL - a worker on ioredis: hashes the files that jobs of the queue sha256 name. What
// finds no connection waits for the next one: a job is held by its token, wherever that comes from.
const {execFile} = require('child_process');
const Redis = require('ioredis');
let leaving;
process.once('SIGTERM', () => { leaving = true; });

function work(yoke, lease, token, path, grace) { // resolves to the report
    return new Promise((resolve) => {
        let report;
        const child = execFile('sha256sum', [path], (error, out, err) => {
            [touch, fence].forEach(clearTimeout);
            resolve(!error ? ['DONE', token, out.slice(0, 64)] :
                report ?? ['FAIL', token, `exit:${error.code ?? error.signal}`, err]);
        });
        const stop = (ms, ...why) => {
            if (!report) child.kill();
            report ??= why;
            setTimeout(() => child.kill('SIGKILL'), ms).unref();
        };
        const fence = setTimeout(stop, lease / 2, lease / 4, 'RELEASE', token); // cut off
        const touch = setInterval(() => yoke.call('TOUCH', token).then(([asked, , reason, told]) => {
            fence.refresh();
            if (asked) stop(told, 'FAIL', token, 'cancelled', reason); // or its time is up
            else if (leaving) stop(grace, 'RELEASE', token);
        }, console.error), 500);
    });
}
async function slot(yoke) {
    const hello = await yoke.call('HELLO', 2), lease = hello[hello.indexOf('lease') + 1];
    while (!leaving)
        for (const [, token, , path, more] of await yoke.call('FETCH', 1, 1000, 'sha256'))
            await yoke.call(...await work(yoke, lease, token, path, more[more.indexOf('grace') + 1]))
                .catch(console.error); // STALE: somebody else has it
    await yoke.quit();
}
for (let i = 0; i < 4; i++)
    slot(new Redis(process.argv[2], {maxRetriesPerRequest: null, socketTimeout: 5000}));
