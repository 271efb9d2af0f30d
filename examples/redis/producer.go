// SPDX-License-Identifier: BSD-2-Clause
// producer ADDRESS FILE... - has files hashed, all within a minute, and prints what becomes of
// each as it ends. However it is left, nothing of it goes on running.
package main

import (
	"context"
	"fmt"
	"github.com/redis/go-redis/v9"
	"os"
	"os/signal"
	"syscall"
)

func main() { // The one connection owns the group: when it is gone what is left is cancelled.
	yoke := redis.NewClient(&redis.Options{Addr: os.Args[1], PoolSize: 1, MaxRetries: -1})
	all := context.Background()
	left, _ := signal.NotifyContext(all, syscall.SIGINT, syscall.SIGTERM)
	group, err := yoke.Do(all, "GROUP", "OPEN", "FAIL", 0, "TIMEOUT", 60000).Text()
	paths := map[any]string{}
	for _, path := range os.Args[2:] {
		if job, _ := yoke.Do(all, "SUBMIT", "sha256", path, "GROUP", group).Text(); job != "" {
			paths[job] = path
		}
	}
	yoke.Do(all, "GROUP", "CLOSE", group)
	for page := []any{"0", nil, int64(0)}; err == nil && page[2] == int64(0); { // its cursor, members, over
		if left.Err() != nil { // What has ended does not mind; the others are awaited.
			yoke.Do(all, "CANCEL", group, "REASON", "the producer has left")
		}
		page, err = yoke.Do(all, "GROUP", "NEXT", group, page[0], 1000).Slice()
		for i := 0; err == nil && i < len(page[1].([]any)); i++ {
			end := page[1].([]any)[i].(map[any]any)
			fmt.Println(paths[end["id"]], end["outcome"], end["result"], end["reason"], end["errors"])
		}
	}
	if err != nil {
		panic(err)
	}
}
