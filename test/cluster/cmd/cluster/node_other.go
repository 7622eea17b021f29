//go:build !linux

package main

import (
	"context"
	"errors"
)

const (
	nodeIP    = ""
	insideEnv = "KWATCHMAN_CLUSTER_INSIDE"
	ctrEnv    = "KWATCHMAN_TEST_CTR"
)

var errNoNode = errors.New("run --node: a node needs Linux")

func enterNode(context.Context, []string) error          { return errNoNode }
func settle() error                                      { return errNoNode }
func (cp *controlPlane) startNode(context.Context) error { return errNoNode }
