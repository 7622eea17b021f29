//go:build unix

package serve

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// used is what the process has used of a processor, and its resident memory in
// bytes, where Linux' /proc tells: proc(5), statm and getrusage(2).
func used() (cpu time.Duration, rss int64, ok bool) {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0, false
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0, 0, false
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	var usage syscall.Rusage
	if err != nil || syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0, 0, false
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), pages * int64(os.Getpagesize()), true
}
