package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The servers, in the order in which they start; they end in the other one.
const (
	etcdName              = "etcd"
	apiServerName         = "kube-apiserver"
	controllerManagerName = "kube-controller-manager"
)

var serverNames = []string{etcdName, apiServerName, controllerManagerName}

// dir is the folder of one control plane, an absolute path.
type dir string

func (d dir) path(name string) string  { return filepath.Join(string(d), name) }
func (d dir) kubeconfig() string       { return d.path("kubeconfig") }
func (d dir) lock() string             { return d.path("lock") }
func (d dir) pki(name string) string   { return d.path(filepath.Join("pki", name)) }
func (d dir) log(server string) string { return d.path(server + ".log") }
func (d dir) pid(server string) string { return d.path(server + ".pid") }

// create makes the folder. One that holds files of somebody else is refused:
// stop removes what it finds under the names used here.
func (d dir) create() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return fmt.Errorf("read the folder: %w", err)
	}
	if len(entries) > 0 && !d.isOurs() {
		return fmt.Errorf("%s holds other files; give --dir a new or an empty folder", d)
	}
	return nil
}

// isOurs: the lock file is the first that start makes and the last that clean removes.
func (d dir) isOurs() bool {
	_, err := os.Stat(d.lock())
	return err == nil
}

// clean removes what a control plane left, except the lock.
func (d dir) clean() error {
	names := []string{"etcd", "pki", "kubeconfig", "ports.json"}
	for _, server := range serverNames {
		names = append(names, filepath.Base(d.log(server)), filepath.Base(d.pid(server)))
	}
	for _, name := range names {
		if err := os.RemoveAll(d.path(name)); err != nil {
			return fmt.Errorf("clean up: %w", err)
		}
	}
	return nil
}

// remove cleans and removes the folder itself, unless somebody put files there.
func (d dir) remove() error {
	if err := d.clean(); err != nil {
		return err
	}
	_ = os.Remove(d.lock())
	_ = os.Remove(string(d))
	return nil
}

func (d dir) writePorts(p ports) error {
	content, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode the ports: %w", err)
	}
	return os.WriteFile(d.path("ports.json"), append(content, '\n'), 0o600)
}

func (d dir) readPorts() (p ports, err error) {
	content, err := os.ReadFile(d.path("ports.json"))
	if err == nil {
		err = json.Unmarshal(content, &p)
	}
	if err != nil {
		return ports{}, fmt.Errorf("read the ports: %w", err)
	}
	return p, nil
}

// writePID notes the process and when it started; a pid alone may be recycled.
func (d dir) writePID(server string, pid int) error {
	began, err := startTime(pid)
	if err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("note the process of %s: %w", server, err)
	}
	content := fmt.Sprintf("%d\n%s\n", pid, began)
	if err := os.WriteFile(d.pid(server), []byte(content), 0o600); err != nil {
		return fmt.Errorf("note the process of %s: %w", server, err)
	}
	return nil
}
