// SPDX-License-Identifier: MIT
// A net/http server: work PORT. The answer to /work?ms=N (sleeps), /spin (computes) and
// /block (a system call that takes so long) is the ids of all threads that it ran on.
package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
		end := time.Now().Add(time.Duration(ms) * time.Millisecond)
		ran := map[int]bool{}
		switch r.URL.Path {
		case "/work":
			time.Sleep(time.Until(end))
			ran[syscall.Gettid()] = true
		case "/block":
			ran[syscall.Gettid()] = true
			span := syscall.NsecToTimespec(time.Until(end).Nanoseconds())
			syscall.Nanosleep(&span, nil)
		default:
			for time.Now().Before(end) {
				ran[syscall.Gettid()] = true
			}
		}
		for tid := range ran {
			fmt.Fprint(w, tid, ",")
		}
	})
	if err := http.ListenAndServe("127.0.0.1:"+os.Args[1], nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
