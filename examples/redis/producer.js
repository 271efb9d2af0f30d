#!/usr/bin/env node
// SPDX-License-Identifier: BSD-2-Clause
// producer.js URL SECONDS FILE... - has files hashed, all within so many seconds, and prints
// what becomes of each as it ends. However it is left, nothing of it goes on running.
const Redis = require('ioredis');
const [url, seconds, ...paths] = process.argv.slice(2);
const yoke = new Redis(url, {retryStrategy: null});
const map = (flat) => Object.fromEntries(flat.flatMap((x, i) => i % 2 ? [] : [[x, flat[i + 1]]]));

async function main() {
    // A scope with a deadline: when it passes the daemon cancels what is left, as it does when
    // this connection is gone. FAIL 0: one that fails does not stop the others.
    const group = await yoke.call('GROUP', 'OPEN', 'FAIL', 0, 'TIMEOUT', seconds * 1000);
    const cancel = () => yoke.call('CANCEL', group, 'REASON', 'the producer has left');
    process.once('SIGINT', cancel).once('SIGTERM', cancel); // the loop below sees it end
    try {
        const submit = (path) => yoke.call('SUBMIT', 'sha256', path, 'GROUP', group);
        const jobs = await Promise.all(paths.map(submit));
        await yoke.call('GROUP', 'CLOSE', group);
        for (let cursor = '0', members, over = 0; !over;) {
            [cursor, members, over] = await yoke.call('GROUP', 'NEXT', group, cursor, -1);
            for (const {id, outcome, result, reason, errors} of members.map(map)) {
                const path = paths[jobs.indexOf(id)];
                if (outcome === 'ok') {
                    console.log(result, path);
                    continue;
                }
                process.exitCode = 1;
                const why = errors.map(map).map((e) => `${e.class}: ${e.message.trim()}`);
                console.error(`${path}: ${outcome}: ${reason ?? why.join(', ')}`);
            }
        }
    } finally {
        await cancel(); // what has ended does not mind
        await yoke.call('GROUP', 'WAIT', group, -1);
        yoke.quit();
    }
}
main();
