package main

import "strconv"

const serviceRange = "10.0.0.0/16"

func etcdArgs(d dir, p ports) []string {
	client, peer := "http://"+local(p.EtcdClient), "http://"+local(p.EtcdPeer)
	return []string{
		"etcd",
		"--name=etcd",
		"--data-dir=" + d.path("etcd"),
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=etcd=" + peer,
		"--unsafe-no-fsync", // the data need not survive the machine
		"--log-level=warn",
	}
}

func apiServerArgs(d dir, p ports) []string {
	return []string{
		"kube-apiserver",
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(p.APIServer),
		"--endpoint-reconciler-type=none", // loopback is no valid endpoint
		"--etcd-servers=http://" + local(p.EtcdClient),
		"--service-cluster-ip-range=" + serviceRange,
		"--authorization-mode=Node,RBAC",
		"--client-ca-file=" + d.pki("ca.crt"),
		"--tls-cert-file=" + d.pki("server.crt"),
		"--tls-private-key-file=" + d.pki("server.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + d.pki("service-account.key"),
		"--service-account-signing-key-file=" + d.pki("service-account.key"),
	}
}

// apiServerNodeArgs go over those before: Pods reach it by the node's address,
// and it reaches the kubelet.
func apiServerNodeArgs(d dir) []string {
	return []string{
		"--bind-address=0.0.0.0",
		"--advertise-address=" + nodeIP,
		"--endpoint-reconciler-type=lease",
		"--allow-privileged=true",
		"--kubelet-client-certificate=" + d.pki("admin.crt"),
		"--kubelet-client-key=" + d.pki("admin.key"),
		"--kubelet-preferred-address-types=InternalIP",
	}
}

func controllerManagerArgs(d dir, p ports) []string {
	return []string{
		"--kubeconfig=" + d.kubeconfig(),
		"--authentication-kubeconfig=" + d.kubeconfig(),
		"--authorization-kubeconfig=" + d.kubeconfig(),
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(p.ControllerManager),
		"--tls-cert-file=" + d.pki("server.crt"),
		"--tls-private-key-file=" + d.pki("server.key"),
		"--root-ca-file=" + d.pki("ca.crt"),
		"--service-account-private-key-file=" + d.pki("service-account.key"),
		"--use-service-account-credentials=true",
		"--leader-elect=false", // there is only one
		"--horizontal-pod-autoscaler-sync-period=1s",
	}
}
