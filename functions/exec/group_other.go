//go:build !unix

package exec

import "os/exec"

// Here a command is ended alone: there are no process groups.
func group(*exec.Cmd)    {}
func endGroup(*exec.Cmd) {}
