// SPDX-License-Identifier: BSD-2-Clause
// worker ADDRESS - a worker on go-redis: hashes the files that jobs of the queue sha256 name.
package main

import "context"
import "github.com/redis/go-redis/v9"
import "os"
import "os/exec"
import "os/signal"
import "syscall"
import "time"

func main() { // Any connection will do: the token holds the job. No answer for half a lease stops it.
	all, yoke := context.Background(), redis.NewClient(&redis.Options{Addr: os.Args[1], MaxRetries: 1e9})
	for leaving, _ := signal.NotifyContext(all, syscall.SIGTERM); leaving.Err() == nil; {
		jobs, _ := yoke.Do(leaving, "FETCH", 1, 1000, "sha256").Slice()
		for _, job := range jobs {
			ctx, stop := context.WithCancel(leaving)
			token, fence := job.([]any)[1], time.AfterFunc(15*time.Second, stop)
			asked := func() bool {
				told, err := yoke.Do(all, "TOUCH", token).Slice()
				return err == nil && fence.Reset(15*time.Second) && told[0] == int64(1)
			}
			go func() {
				for ; ctx.Err() == nil && !asked(); time.Sleep(time.Second / 2) {
				}
				stop()
			}()
			out, err := exec.CommandContext(ctx, "sha256sum", job.([]any)[3].(string)).Output()
			if err == nil {
				yoke.Do(all, "DONE", token, out[:64])
			} else if asked() {
				yoke.Do(all, "FAIL", token, "cancelled", "as asked")
			} else if ctx.Err() == nil {
				yoke.Do(all, "FAIL", token, "exit", err.Error())
			}
			yoke.Do(all, "RELEASE", token) // changes nothing after a report
		}
	}
}
