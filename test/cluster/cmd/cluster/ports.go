package main

import (
	"fmt"
	"net"
	"strconv"
)

// ports are the loopback ports of one control plane, chosen when it starts.
type ports struct {
	EtcdClient        int
	EtcdPeer          int
	APIServer         int
	ControllerManager int
}

func (p ports) server() string { return "https://" + local(p.APIServer) }

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePorts asks the system for unused ports. All are held until the last one
// is known, so that they differ. Somebody may take one before its server does;
// then the server dies and the start is tried again.
func freePorts() (p ports, err error) {
	for _, port := range []*int{&p.EtcdClient, &p.EtcdPeer, &p.APIServer, &p.ControllerManager} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return ports{}, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		*port = l.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}
