package watcher

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/lease"
	"github.com/kwatchman/kwatchman/watcher/plan"
)

func rbacCommand(name string, load func(*cobra.Command) (*config.Config, error)) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "rbac", Short: "Print the least role for the configuration",
		Long: "Prints, for kubectl apply -f -, a ServiceAccount with the least ClusterRole for the\n" +
			"configuration, or with Roles in the namespaces that are watched (-n). The resources are found by\n" +
			"discovery; nothing is changed. The ServiceAccount is in the first namespace of -n, or else in that\n" +
			"of the kubeconfig's context.",
		Example: "  " + name + " rbac | kubectl apply -f -\n  " + name + " rbac -n shop --service-account tools/kwatchman",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			return rbac(cmd.Context(), cfg, account, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&account, "service-account", "kwatchman",
		"[namespace/]name of the ServiceAccount")
	return cmd
}

// rbac prints what a ServiceAccount needs to watch what is configured.
func rbac(ctx context.Context, cfg *config.Config, account string, w io.Writer) error {
	namespace, name, ok := strings.Cut(account, "/")
	if !ok {
		namespace, name = "", account
	}
	if len(validation.IsDNS1123Subdomain(name)) > 0 || ok && len(validation.IsDNS1123Label(namespace)) > 0 {
		return fmt.Errorf("--service-account: %.80q is no [namespace/]name", account)
	}
	api, _, p, err := survey(ctx, cfg, nil)
	if err != nil {
		return err
	}
	if namespace == "" {
		namespace = api.Namespace
		if len(cfg.Namespace) > 0 {
			namespace = cfg.Namespace[0]
		}
	}
	text := manifests(cfg, p, namespace, name)
	if cfg.Lease != "" {
		in, of := cfg.LeaseName()
		text += leaseRole(cmp.Or(in, namespace), of, namespace, name)
	}
	_, err = io.WriteString(w, text)
	return err
}

// leaseRole is what taking part in an election takes. Its name is another one, for
// a namespace may be watched and have the Lease.
func leaseRole(in, of, namespace, name string) string {
	return fmt.Sprintf(`---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: %[1]s-lease
  namespace: %[2]s
rules:
- %[3]s
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: %[1]s-lease
  namespace: %[2]s
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: %[1]s-lease
subjects:
- kind: ServiceAccount
  name: %[1]s
  namespace: %[4]s
`, name, in, strings.Join(lease.Rules(of), "\n- "), namespace)
}

// manifests are a ServiceAccount, and a role with its binding for the cluster
// and for each namespace.
func manifests(cfg *config.Config, p *plan.Plan, namespace, name string) string {
	rules := map[string]map[string][]string{} // namespace → group → resources
	add := func(namespace string, r schema.GroupResource) {
		if rules[namespace] == nil {
			rules[namespace] = map[string][]string{}
		}
		if !slices.Contains(rules[namespace][r.Group], r.Resource) {
			rules[namespace][r.Group] = append(rules[namespace][r.Group], r.Resource)
		}
	}
	for _, place := range p.Sorted() {
		add(place.Namespace, place.GroupResource)
	}
	var b strings.Builder
	b.WriteString("# The least that the configuration of this moment needs.\n")
	for _, m := range p.Missing {
		r, _ := client.Custom(m.Name)
		fmt.Fprintf(&b, "# %s is not served yet: its rule takes the name for the plural.\n", m.Name)
		for _, ns := range cfg.NamespacesOf(m.Resource) {
			add(ns, r)
		}
	}
	if slices.ContainsFunc(cfg.Watched, func(r config.Resource) bool { return r.Name == config.All }) {
		b.WriteString("# What is served later, as new custom resources are, needs this to be run again.\n")
	}
	if cfg.ClusterName == "" {
		b.WriteString("# Set KW_CLUSTER_NAME: the UID of namespace kube-system, its default, may not be read with this.\n")
	}
	fmt.Fprintf(&b, "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: %s\n  namespace: %s\n", name, namespace)
	for _, in := range sortedKeys(rules) {
		kind, place := "ClusterRole", ""
		if in != "" {
			kind, place = "Role", "  namespace: "+in+"\n"
		}
		fmt.Fprintf(&b, "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: %s\nmetadata:\n  name: %s\n%srules:\n", kind, name, place)
		for _, group := range sortedKeys(rules[in]) {
			resources := rules[in][group]
			slices.Sort(resources)
			fmt.Fprintf(&b, "- apiGroups: [%q]\n  resources: [%s]\n  verbs: [%s]\n",
				group, strings.Join(resources, ", "), strings.Join(client.Verbs, ", "))
		}
		fmt.Fprintf(&b, "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: %sBinding\nmetadata:\n  name: %s\n%s"+
			"roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: %s\n  name: %s\n"+
			"subjects:\n- kind: ServiceAccount\n  name: %s\n  namespace: %s\n",
			kind, name, place, kind, name, name, namespace)
	}
	return b.String()
}
