package model

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// slot is the place of one watcher: one process after the other, as Kubernetes
// would start them.
type slot struct {
	name, binary string
	env          []string
	proxy        *proxy
	log          *os.File // of all its processes

	mu        sync.Mutex
	processes []*process
	stays     bool // ended: it is not started again by itself
	ends      []string
	work      sync.WaitGroup
}

func newSlot(t *testing.T, folder, name, binary string, of *plane, env ...string) *slot {
	t.Helper()
	s := &slot{name: name, binary: binary, proxy: newProxy(t, of)}
	s.env = append(env, "KW_KUBECONFIG="+s.proxy.kubeconfig)
	var err error
	s.log, err = os.Create(filepath.Join(folder, name+".log"))
	require.NoError(t, err)
	t.Cleanup(func() {
		s.mu.Lock()
		s.stays = true
		s.mu.Unlock()
		s.kill()
		s.work.Wait()
		_ = s.log.Close()
	})
	require.NoError(t, s.start())
	return s
}

// start runs another process, unless one runs.
func (s *slot) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.processes); n > 0 {
		select {
		case <-s.processes[n-1].ended:
		default:
			return nil // there is one
		}
	}
	p := &process{cmd: exec.Command(filepath.Join(binaries, s.binary)), ended: make(chan struct{})}
	p.cmd.Env, p.cmd.Dir = environment(s.env), filepath.Dir(s.proxy.kubeconfig)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return err
	}
	p.seen.Begin = time.Now()
	if err := p.cmd.Start(); err != nil {
		return err
	}
	s.processes = append(s.processes, p)
	_, _ = fmt.Fprintf(s.log, "--- process %d of %s, pid %d, %s\n", len(s.processes), s.name, p.cmd.Process.Pid, p.seen.Begin.Format(time.RFC3339Nano))
	s.work.Go(func() { s.attend(p, stderr) })
	return nil
}

// attend reads a process's log until it ends, and starts another one if nobody ended
// it: at a start it needs the API server.
func (s *slot) attend(p *process, stderr io.Reader) {
	for r := bufio.NewReader(stderr); ; {
		text, err := r.ReadString('\n')
		if text != "" {
			_, _ = s.log.WriteString(text)
			p.take(strings.TrimSuffix(text, "\n"))
		}
		if err != nil {
			break
		}
	}
	_ = p.cmd.Wait() // the exit code is read from ProcessState
	p.mu.Lock()
	p.seen.End = time.Now()
	last := p.last
	p.mu.Unlock()
	close(p.ended)
	s.mu.Lock()
	again := !p.asked && !s.stays
	if again {
		s.ends = append(s.ends, fmt.Sprintf("exit code %d: %s", p.cmd.ProcessState.ExitCode(), last))
	}
	s.mu.Unlock()
	if again {
		time.Sleep(time.Second)
		s.startAgain()
	}
}

// startAgain starts a process that ended by itself. What does not start is seen at the
// end.
func (s *slot) startAgain() {
	s.mu.Lock()
	stays := s.stays
	s.mu.Unlock()
	if !stays {
		_ = s.start()
	}
}

// current is the newest process; nil: it has ended.
func (s *slot) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.processes) == 0 {
		return nil
	}
	p := s.processes[len(s.processes)-1]
	select {
	case <-p.ended:
		return nil
	default:
		return p
	}
}

// ending marks the newest process as one that is ended on purpose.
func (s *slot) ending() *process {
	p := s.current()
	if p != nil {
		s.mu.Lock()
		p.asked = true
		s.mu.Unlock()
	}
	return p
}

// kill ends it as a crash would.
func (s *slot) kill() {
	if p := s.ending(); p != nil {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// graceful is longer than a stop takes.
const graceful = 40 * time.Second

// stop asks it to end.
func (s *slot) stop() error {
	p := s.ending()
	if p == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(graceful):
		_ = p.cmd.Process.Kill()
		return fmt.Errorf("%s did not stop in %s", s.name, graceful)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s stopped with exit code %d: %s", s.name, code, p.last)
	}
	return nil
}

// freeze pauses it, or lets it go on.
func (s *slot) freeze(on bool) {
	if p := s.current(); p != nil {
		signal := syscall.SIGCONT
		if on {
			signal = syscall.SIGSTOP
		}
		_ = p.cmd.Process.Signal(signal)
	}
}

// logs are those of all its processes.
func (s *slot) logs() []Process {
	s.mu.Lock()
	all := append([]*process{}, s.processes...)
	s.mu.Unlock()
	var out []Process
	for _, p := range all {
		out = append(out, p.saw())
	}
	return out
}

// ended are the ends of processes that nobody asked for.
func (s *slot) ended() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.ends...)
}

// trouble is what no process may do: end by itself but for want of an API server, or
// have a data race.
func (s *slot) trouble() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, end := range s.ends {
		if !strings.HasPrefix(end, "exit code 1: ") {
			out = append(out, s.name+" ended by itself: "+end)
		}
	}
	for _, p := range s.processes {
		p.mu.Lock()
		if p.race {
			out = append(out, s.name+" has a data race or panicked, see its log")
		}
		p.mu.Unlock()
	}
	return out
}
