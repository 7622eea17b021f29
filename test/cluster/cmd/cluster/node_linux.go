package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A node of its own network: what runs here is in mount, process and network
// namespaces that end with the launcher, and changes no setting of the host.
const (
	nodeName   = "node"
	nodeIP     = "192.168.99.1"
	podRange   = "10.88.0.0/24"
	dnsDomain  = "cluster.local"
	pauseImage = "kwatchman.test/pause:1"

	// insideEnv marks the launcher that runs in the namespaces.
	insideEnv = "KWATCHMAN_CLUSTER_INSIDE"
	// ctrEnv tells a command how to reach the container runtime: a command line.
	ctrEnv = "KWATCHMAN_TEST_CTR"

	nodeLimit = 60 * time.Second
)

// The CNI plugins of Debian and of the plugins' own archives.
var cniFolders = []string{"/usr/lib/cni", "/opt/cni/bin"}

// nodeTools are what a node needs besides the binaries that are built.
var nodeTools = map[string]string{
	"containerd": "containerd", "ctr": "containerd", "runc": "runc", "iptables": "iptables", "ip": "iproute2", "mount": "mount",
	"conntrack": "conntrack",
}

func cniFolder() (string, error) {
	for _, folder := range cniFolders {
		if _, err := os.Stat(filepath.Join(folder, "ptp")); err == nil {
			return folder, nil
		}
	}
	return "", fmt.Errorf("run --node: the CNI plugins are missing in %s (Debian: containernetworking-plugins)", strings.Join(cniFolders, " and "))
}

// enterNode builds what a node needs, while there is a network, and runs this
// launcher once more, with the same arguments, in namespaces of its own.
func enterNode(ctx context.Context, args []string) error {
	if os.Getuid() != 0 {
		return errors.New("run --node: only root can start a node")
	}
	for tool, pkg := range nodeTools {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("run --node: %s is missing (Debian: %s)", tool, pkg)
		}
	}
	if _, err := cniFolder(); err != nil {
		return err
	}
	if _, err := openBuilt(ctx, true); err != nil {
		return err
	}
	if _, err := builtNode(ctx); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "kwatchman-node-")
	if err != nil {
		return fmt.Errorf("run: make a folder: %w", err)
	}
	defer func() {
		_ = os.RemoveAll(temp)
		removeCgroups(filepath.Base(temp))
	}()
	cmd := exec.Command("/proc/self/exe", append([]string{"run"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"="+filepath.Base(temp), "TMPDIR="+temp)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL,
	}
	p, err := launch("cluster", cmd)
	if err != nil {
		return fmt.Errorf("run --node: %w", err)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-p.done
	}
	return commandStatus(p.err)
}

// removeCgroups removes the groups of a node whose processes have ended.
func removeCgroups(name string) {
	var found []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && strings.Contains(path, "/"+name) {
			found = append(found, path)
		}
		return nil
	})
	for _, path := range slices.Backward(found) {
		_ = syscall.Rmdir(path)
	}
}

// settle makes the namespaces a host: file systems of its own, and a network
// with one address that is there for Pods too.
func settle() error {
	for _, m := range []struct {
		source, target, fstype string
		flags                  uintptr
	}{
		{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{"tmpfs", "/run", "tmpfs", 0},
		{"tmpfs", "/var/log", "tmpfs", 0},
	} {
		if err := syscall.Mount(m.source, m.target, m.fstype, m.flags, ""); err != nil {
			return fmt.Errorf("run --node: mount %s: %w", m.target, err)
		}
	}
	for _, line := range []string{
		"ip link set lo up",
		"ip addr add " + nodeIP + "/32 dev lo",
	} {
		words := strings.Fields(line)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("run --node: %s: %w: %s", line, err, strings.TrimSpace(string(out)))
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600)
}

// startNode starts what makes this host a node of the control plane.
func (cp *controlPlane) startNode(ctx context.Context) error {
	b, err := builtNode(ctx)
	if err != nil {
		return err
	}
	cni, err := cniFolder()
	if err != nil {
		return err
	}
	d := cp.dir
	socket := d.path("containerd.sock")
	if err := d.writeNodeFiles(socket, cni, os.Getenv(insideEnv)); err != nil {
		return err
	}
	kubeconfig := "--kubeconfig=" + d.kubeconfig()
	var containerd, kubelet *process
	for _, s := range []struct {
		name, binary string
		args         []string
		p            **process
	}{
		{"containerd", "containerd", []string{"--config", d.path("containerd.toml")}, &containerd},
		{"coredns", b.coreDNS, []string{"-conf", d.path("Corefile")}, nil},
		{"kube-scheduler", b.node, []string{
			"kube-scheduler", kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=10259",
			"--authentication-kubeconfig=" + d.kubeconfig(), "--authorization-kubeconfig=" + d.kubeconfig(), "--cert-dir=" + d.path("scheduler"),
		}, nil},
		{"kube-proxy", b.node, []string{"kube-proxy", "--config=" + d.path("kube-proxy.yaml")}, nil},
	} {
		p, err := launchServer(d, s.name, s.binary, s.args, true)
		if err != nil {
			return err
		}
		if s.p != nil {
			*s.p = p
		}
		cp.node = append(cp.node, p)
	}
	ctr := []string{"ctr", "--address", socket, "--namespace", "k8s.io"}
	if err := awaitTrue(ctx, containerd, func() bool { return exec.Command(ctr[0], append(ctr[1:], "version")...).Run() == nil }); err != nil {
		return err
	}
	archive := d.path("pause.tar")
	if err := writePauseImage(archive, b.pause); err != nil {
		return err
	}
	if out, err := exec.Command(ctr[0], append(ctr[1:], "images", "import", archive)...).CombinedOutput(); err != nil {
		return fmt.Errorf("run --node: import the pause image: %w: %s", err, out)
	}
	kubelet, err = launchServer(d, "kubelet", b.node, []string{
		"kubelet", kubeconfig, "--config=" + d.path("kubelet.yaml"), "--root-dir=" + d.path("kubelet"),
		"--hostname-override=" + nodeName, "--node-ip=" + nodeIP, "--cert-dir=" + d.path("kubelet-pki"),
	}, true)
	if err != nil {
		return err
	}
	cp.node = append(cp.node, kubelet)
	client, err := d.client()
	if err != nil {
		return err
	}
	return awaitTrue(ctx, kubelet, func() bool { return client.nodeReady(ctx, cp.ports.server()) })
}

// nodeReady asks the API server for the node's condition.
func (c *client) nodeReady(ctx context.Context, server string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/api/v1/nodes/"+nodeName, nil)
	if err != nil {
		return false
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&node) != nil {
		return false
	}
	return slices.ContainsFunc(node.Status.Conditions, func(c struct{ Type, Status string }) bool {
		return c.Type == "Ready" && c.Status == "True"
	})
}

// awaitTrue returns once ok holds, or with the reason why p ended.
func awaitTrue(ctx context.Context, p *process, ok func() bool) error {
	deadline := time.After(nodeLimit)
	for !ok() {
		select {
		case <-p.done:
			return p.died()
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: interrupted", p.name)
		case <-deadline:
			return &diedError{name: p.name, reason: fmt.Sprintf("is not ready after %s", nodeLimit), log: tail(p.log)}
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// nodeBinaries are paths of what is built for a node.
type nodeBinaries struct{ node, pause, coreDNS string }

func builtNode(ctx context.Context) (nodeBinaries, error) {
	node, err := openModuleCache(ctx, "node", nodeProgram, pauseProgram)
	if err != nil {
		return nodeBinaries{}, err
	}
	dns, err := openModuleCache(ctx, "coredns", coreDNSProgram)
	if err != nil {
		return nodeBinaries{}, err
	}
	err = errors.Join(
		node.ensure(ctx, nodeProgram, "kubelet, kube-proxy and kube-scheduler "+node.version+" from Go modules, about 2 minutes"),
		node.ensure(ctx, pauseProgram, "pause"),
		dns.ensure(ctx, coreDNSProgram, "CoreDNS from Go modules, about 3 minutes"),
	)
	return nodeBinaries{node: node.path(nodeProgram), pause: node.path(pauseProgram), coreDNS: dns.path(coreDNSProgram)}, err
}

// writeNodeFiles writes the configuration of everything on the node. group is
// the cgroup that all Pods are in.
func (d dir) writeNodeFiles(socket, cni, group string) error {
	for _, folder := range []string{"cni", "pod-logs"} {
		if err := os.MkdirAll(d.path(folder), 0o700); err != nil {
			return fmt.Errorf("run --node: %w", err)
		}
	}
	for name, content := range map[string]string{
		"containerd.toml": fmt.Sprintf(`version = 2
root = %q
state = %q
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`, d.path("containerd"), "/run/containerd", socket, pauseImage, cni, d.path("cni")),
		// Each Pod is a host on a line of its own, so that all traffic passes this one's rules.
		"cni/10-kwatchman.conflist": fmt.Sprintf(`{"cniVersion": "0.4.0", "name": "kwatchman", "plugins": [{"type": "ptp", "ipam": {
  "type": "host-local", "dataDir": %q, "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`, d.path("cni-data"), podRange),
		"Corefile": fmt.Sprintf(".:53 {\n\tbind %s\n\terrors\n\tkubernetes %s {\n\t\tkubeconfig %s\n\t}\n}\n", nodeIP, dnsDomain, d.kubeconfig()),
		"kubelet.yaml": fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %s
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: false}
  x509: {clientCAFile: %s}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix://%s
cgroupDriver: cgroupfs
cgroupRoot: /%s
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
evictionHard: {memory.available: "0%%", nodefs.available: "0%%", imagefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.inodesFree: "0%%"}
imageGCHighThresholdPercent: 100
clusterDNS: [%s]
clusterDomain: %s
resolvConf: ""
podLogsDir: %s
volumePluginDir: %s
syncFrequency: 5s
`, nodeIP, d.pki("ca.crt"), socket, group, nodeIP, dnsDomain, d.path("pod-logs"), d.path("volume-plugins")),
		"kube-proxy.yaml": fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
hostnameOverride: %s
clusterCIDR: %s
clientConnection: {kubeconfig: %s}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
metricsBindAddress: 127.0.0.1:10249
healthzBindAddress: 127.0.0.1:10256
`, nodeName, podRange, d.kubeconfig()),
	} {
		if err := os.WriteFile(d.path(name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("run --node: %w", err)
		}
	}
	group = "/sys/fs/cgroup/" + group
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return os.MkdirAll(group, 0o750)
	}
	controllers, err := filepath.Glob("/sys/fs/cgroup/*")
	if err != nil {
		return err
	}
	for _, controller := range controllers {
		if info, err := os.Lstat(controller); err == nil && info.IsDir() {
			if err := os.MkdirAll(filepath.Join(controller, filepath.Base(group)), 0o750); err != nil {
				return fmt.Errorf("run --node: make a cgroup: %w", err)
			}
		}
	}
	return nil
}

// writePauseImage writes an archive as docker save does, of one layer with the
// binary alone.
func writePauseImage(archive, binary string) error {
	content, err := os.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("run --node: %w", err)
	}
	layer, err := tarball(map[string][]byte{"pause": content}, 0o755)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(layer)
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/pause"}, "User": "65535:65535"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{pauseImage}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	whole, err := tarball(map[string][]byte{"config.json": config, "layer.tar": layer, "manifest.json": manifest}, 0o644)
	if err != nil {
		return err
	}
	return os.WriteFile(archive, whole, 0o600)
}

func tarball(files map[string][]byte, mode int64) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}
