package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// report is what was measured.
type report struct {
	out     io.Writer
	tables  []table
	latency []latencyResult
	sizes   []int
	memory  [][]memoryResult // by size and compared
	facts   []string
}

// write prints all tables, the headline first, and draws the plot into folder.
func (r *report) write(folder string) error {
	_, _ = fmt.Fprintln(r.out, "# What kwatchman costs")
	if len(r.latency) > 0 {
		headline := r.headline()
		headline.write(r.out)
	}
	for i := range r.tables {
		r.tables[i].write(r.out)
	}
	_, _ = fmt.Fprintf(r.out, "\n## Measured on\n\n- %s\n", strings.Join(r.facts, "\n- "))
	if len(r.latency) == 0 && len(r.memory) == 0 {
		return nil
	}
	path := filepath.Join(folder, "performance.svg")
	if err := os.WriteFile(path, r.plot(), 0o644); err != nil { //nolint:gosec // a picture for everyone
		return err
	}
	say("the plot is in %s", path)
	return nil
}

// headline is the table that says it all: of the run on the real API server.
func (r *report) headline() table {
	t := table{
		title: "Headline",
		head:  []string{"", "peak RSS", "RSS after", "CPU per event sent", "p50 / p99 latency", "carries the old object"},
	}
	byName := map[string]latencyResult{}
	for _, x := range r.latency {
		byName[x.subject.name] = x
	}
	for _, s := range compared {
		x := byName[s.name]
		t.add(s.name, megabytes(x.peak), megabytes(x.after), millis(x.perEvent),
			millis(x.latency.p50)+" / "+millis(x.latency.p99), s.oldObjects)
	}
	other := byName[informer.name]
	for _, s := range []subject{inMemory, durable} {
		x := byName[s.name]
		times := func(a, b float64) string { return ratio(a, b) + "×" }
		t.add("informer / "+s.name, times(float64(other.peak), float64(x.peak)), times(float64(other.after), float64(x.after)),
			times(other.perEvent.Seconds(), x.perEvent.Seconds()),
			times(other.latency.p50.Seconds(), x.latency.p50.Seconds())+" / "+times(other.latency.p99.Seconds(), x.latency.p99.Seconds()), "")
	}
	return t
}

// facts are what the numbers depend on.
func (b *bench) facts(ctx context.Context) ([]string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	version, err := b.cluster.gitVersion(ctx)
	if err != nil {
		return nil, err
	}
	mem, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	return []string{
		fmt.Sprintf("%d cores (%s), %.0f GB of memory, Linux %s, state on %s", runtime.NumCPU(), processor(),
			float64(field(mem, "MemTotal:"))/(1<<30), unix.ByteSliceToString(u.Release[:]), fileSystem(b.dir)),
		fmt.Sprintf("%s, %s/%s; Kubernetes %s on the same cores, TLS on loopback", runtime.Version(), runtime.GOOS, runtime.GOARCH, version),
		"one run of each row; MB are 2^20 bytes; flags: " + cmp.Or(strings.Join(os.Args[1:], " "), "none"),
	}, nil
}

// processor is the name of the first one; empty if it has none.
func processor() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(raw)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}

// fileSystem names what a folder lies on (statfs(2)).
func fileSystem(dir string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "an unknown file system"
	}
	names := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "XFS", unix.BTRFS_SUPER_MAGIC: "Btrfs",
		unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	}
	if name, ok := names[int64(s.Type)]; ok { //nolint:unconvert // its width differs by platform
		return name
	}
	return fmt.Sprintf("file system %#x", s.Type)
}
