// SPDX-License-Identifier: MIT
// An HTTP server among goroutines that fill memory and check it: server PORT. /wrong is
// the number of pages that were not as they had been filled.
package main

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
)

var wrong int64

func check(seed byte) {
	for n := byte(0); ; n++ {
		page := make([]byte, 4096)
		for i := range page {
			page[i] = seed ^ n ^ byte(i)
		}
		runtime.Gosched()
		for i := range page {
			if page[i] != seed^n^byte(i) {
				atomic.AddInt64(&wrong, 1)
				break
			}
		}
	}
}

func main() {
	for i := 0; i < 100; i++ {
		go check(byte(i))
	}
	http.HandleFunc("/wrong", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, atomic.LoadInt64(&wrong))
	})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "ok")
	})
	if err := http.ListenAndServe("127.0.0.1:"+os.Args[1], nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
