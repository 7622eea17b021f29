package model

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// process is one of them.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	asked bool // somebody ended it

	mu   sync.Mutex
	seen Process
	last string
	race bool
}

// environment is the test's own without anything that would configure a program.
func environment(env []string) []string {
	var out []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch prefix, _, _ := strings.Cut(name, "_"); prefix {
		case "KW", "K", "KUBECONFIG", "PORT", "LOG", "DIFF", "KUBERNETES", "NO", "OTEL", "KWATCHMAN":
		default:
			out = append(out, kv)
		}
	}
	return append(out, env...)
}

// take keeps a line.
func (p *process) take(text string) {
	var fields map[string]any
	l := Line{At: time.Now()}
	if json.Unmarshal([]byte(text), &fields) == nil {
		l.Fields = fields
		l.Message = l.text("msg")
		if at, err := time.Parse(time.RFC3339Nano, l.text("time")); err == nil {
			l.At = at
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen.Log = append(p.seen.Log, l)
	p.last = cmp.Or(text, p.last)
	p.race = p.race || strings.Contains(text, "DATA RACE") || strings.HasPrefix(text, "panic:") || strings.HasPrefix(text, "fatal error:")
}

// saw is what a process said so far.
func (p *process) saw() Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.seen
	out.Log = append([]Line{}, out.Log...)
	return out
}
