package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// memory of a process in bytes: what is resident, and the most that was.
type memory struct{ rss, peak int64 }

// memory reads VmRSS and VmHWM (proc(5)).
func (p *process) memory() (memory, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return memory{}, fmt.Errorf("measure %s (Linux only): %w", p.name, err)
	}
	rss, peak := field(raw, "VmRSS:"), field(raw, "VmHWM:")
	if rss == 0 || peak == 0 {
		return memory{}, fmt.Errorf("measure %s: it has ended%s", p.name, p.said())
	}
	return memory{rss, peak}, nil
}

// field is a number of kB in /proc, in bytes; 0 if there is none.
func field(raw []byte, name string) int64 {
	s := bufio.NewScanner(bytes.NewReader(raw))
	for s.Scan() {
		if rest, ok := strings.CutPrefix(s.Text(), name); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// resetPeak makes the peak what is resident now.
func (p *process) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.pid), []byte("5"), 0)
}

// cpu is the time that the process has run, on all cores, in nanoseconds: its
// CPU clock, which another process may read (clock_getcpuclockid(3)).
// /proc/PID/stat counts in hundredths of a second.
func (p *process) cpu() (time.Duration, error) {
	const schedClock = 2
	var t unix.Timespec
	clock := int32(^p.pid<<3 | schedClock) //nolint:gosec // a pid has at most 22 bits (proc(5))
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("measure %s: it has ended%s", p.name, p.said())
	}
	return time.Duration(t.Nano()), nil
}

// ownCPU is the time that the bench has run.
func ownCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// quiet waits until the process has nothing to do: until it has used less than
// a hundredth of a core for half a second. It gives the CPU used until then.
func (p *process) quiet(ctx context.Context) (time.Duration, error) {
	const look = 500 * time.Millisecond
	last, err := p.cpu()
	for deadline := time.Now().Add(startTimeout); err == nil && time.Now().Before(deadline); {
		if err = sleep(ctx, look); err != nil {
			break
		}
		var now time.Duration
		if now, err = p.cpu(); err != nil || now-last < look/100 {
			return now, err
		}
		last = now
	}
	if err == nil {
		err = fmt.Errorf("%s does not come to rest%s", p.name, p.said())
	}
	return 0, err
}
