package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// shell runs the commands of the scenarios, with the right kubectl in its path.
type shell struct {
	dir       string // of kubectl and the kubeconfig
	manifests string
}

func newShell(manifests string) (*shell, error) {
	dir, err := os.MkdirTemp("", "kwatchman-corpus-")
	if err != nil {
		return nil, err
	}
	s := &shell{dir: dir, manifests: manifests}
	if err := os.Symlink(os.Getenv(kubectlEnv), filepath.Join(dir, "kubectl")); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *shell) remove() { _ = os.RemoveAll(s.dir) }

// run runs a script in the folder of the manifests; kubectl's namespace is namespace.
func (s *shell) run(ctx context.Context, namespace, script string) error {
	config, err := os.ReadFile(os.Getenv(kubeconfigEnv)) //nolint:gosec // the launcher names it
	if err != nil {
		return err
	}
	kubeconfig := filepath.Join(s.dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, config, 0o600); err != nil { //nolint:gosec // in a folder of its own
		return err
	}
	script = "kubectl config set-context --current --namespace=" + namespace + "\n" + script
	cmd := exec.CommandContext(ctx, "/bin/sh", "-euc", script)
	cmd.Dir = s.manifests
	cmd.Env = append(os.Environ(), "PATH="+s.dir+string(os.PathListSeparator)+os.Getenv("PATH"),
		"KUBECONFIG="+kubeconfig, "NAMESPACE="+namespace, "HOME="+s.dir, "TEMP="+s.dir, "TZ=UTC")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s\n%s", err, script, out)
	}
	return nil
}
