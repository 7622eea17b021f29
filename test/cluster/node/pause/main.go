// Command pause holds the namespaces of a Pod open until it is told to end.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 8)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range ended {
		if s != syscall.SIGCHLD {
			return
		}
		for { // whom the Pod's processes leave behind
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
