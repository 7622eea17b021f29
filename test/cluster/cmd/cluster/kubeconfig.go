package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"
)

const kubeconfigFormat = `apiVersion: v1
kind: Config
current-context: kwatchman
contexts:
- name: kwatchman
  context: {cluster: kwatchman, user: admin}
clusters:
- name: kwatchman
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: admin
  user:
    client-certificate-data: %s
    client-key-data: %s
`

// writeKubeconfig writes a file that holds all it needs, so that it may be
// copied anywhere. It lets its reader do everything, hence the mode.
func (d dir) writeKubeconfig(server string) error {
	values := []any{server}
	for _, name := range []string{"ca.crt", "admin.crt", "admin.key"} {
		content, err := os.ReadFile(d.pki(name))
		if err != nil {
			return fmt.Errorf("write the kubeconfig: %w", err)
		}
		values = append(values, base64.StdEncoding.EncodeToString(content))
	}
	if err := os.WriteFile(d.kubeconfig(), fmt.Appendf(nil, kubeconfigFormat, values...), 0o600); err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	return nil
}

// exportLine is what a shell evaluates to use the kubeconfig.
func exportLine(variable, path string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@%:,="
	if strings.Trim(path, plain) != "" {
		path = "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return "export " + variable + "=" + path
}
