// SPDX-License-Identifier: MIT
// Goroutines that wait in each way that Go knows, and one that computes; what Go's own
// traceback says of them is written to the file named, at each SIGUSR1.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var mutex sync.Mutex

func lockIt(n int) {
	mutex.Lock()
	fmt.Println(n)
	mutex.Unlock()
}

func deeper(n int, c chan int) int {
	if n == 0 {
		return <-c
	}
	return deeper(n-1, c) + 1
}

func small(c chan int) int { return <-c }

func inlining(c chan int) { fmt.Println(small(c)) }

var sum int64

func spin() {
	for {
		atomic.AddInt64(&sum, 1)
	}
}

func main() {
	never := make(chan int)
	mutex.Lock()
	for i := 0; i < 3; i++ {
		go lockIt(i)
	}
	go deeper(5, never)
	go inlining(never)
	go func() {
		select {
		case <-never:
		case <-time.After(time.Hour):
		}
	}()
	go time.Sleep(time.Hour)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go l.Accept()
	if len(os.Args) > 2 {
		go spin()
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	os.WriteFile(os.Args[1]+".ready", nil, 0o600)
	for range asked {
		time.Sleep(50 * time.Millisecond)
		text := make([]byte, 1<<20)
		text = text[:runtime.Stack(text, true)]
		if os.WriteFile(os.Args[1]+".new", text, 0o600) != nil || os.Rename(os.Args[1]+".new", os.Args[1]) != nil {
			os.Exit(1)
		}
	}
}
