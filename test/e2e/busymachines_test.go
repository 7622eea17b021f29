package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// machines write what operators, controllers and kubelets write, beside the
// real controllers that answer to it.
type machines struct{ *cluster }

// round is some minutes of the hour: every machine at once, each again and
// again.
func (m *machines) round(n int) error {
	work := []func(n int) error{
		m.scale, m.renewLeases, m.renewAnnotations, m.reportConditions, m.reportAddresses, m.failProbes, m.writeChecksums, m.runJob,
	}
	errs := make([]error, len(work))
	var all sync.WaitGroup
	for i, w := range work {
		all.Go(func() { errs[i] = w(n) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// repeat calls write for the times of one round, which differ from those of all
// other rounds.
func repeat(round, times int, write func(at int) error) error {
	for i := range times {
		if err := write(round*times + i); err != nil {
			return err
		}
	}
	return nil
}

// scale writes as the autoscalers do: through the subresource. What the first
// writes is what the HorizontalPodAutoscaler's controller writes with metrics.
func (m *machines) scale(n int) error {
	return repeat(n, 4, func(at int) error {
		patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, 3-at%2)
		for _, s := range [][2]string{
			{"kube-controller-manager", "storefront"}, {"keda-operator", "worker"}, {"cluster-proportional-autoscaler", "resolver"},
		} {
			if err := m.patchAs(s[0], deployments, s[1], patch, "scale"); err != nil {
				return err
			}
		}
		return nil
	})
}

func (m *machines) renewLeases(n int) error {
	return repeat(n, 10, func(at int) error {
		patch := fmt.Sprintf(`{"spec":{"renewTime":"2026-11-22T09:00:00.%06dZ"}}`, at)
		return errors.Join(m.patchAs("operator", leases, "operator", patch), m.patchAs("kube-scheduler", leases, "scheduler", patch))
	})
}

func (m *machines) renewAnnotations(n int) error {
	return repeat(n, 5, func(at int) error {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"control-plane.alpha.kubernetes.io/leader":%q}}}`,
			fmt.Sprintf(`{"holderIdentity":"operator-1","renewTime":%q}`, second(at)))
		return errors.Join(m.patchAs("operator", configMaps, "leader", patch), m.patchAs("operator", endpoints, "leader", patch))
	})
}

func (m *machines) reportConditions(n int) error {
	return repeat(n, 3, func(at int) error {
		patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"CapacityChecked","status":%q,"lastTransitionTime":%q}]}}`,
			[]string{"True", "False"}[at%2], second(at))
		return errors.Join(
			m.patchAs("capacity-operator", deployments, "payments", patch, "status"),
			m.patchAs("capacity-operator", deployments, "reports", patch, "status"),
			m.patchAs("capacity-operator", statefulSets, "ledger", patch, "status"),
			m.patchAs("capacity-operator", daemonSets, "agent", patch, "status"))
	})
}

func (m *machines) reportAddresses(n int) error {
	return repeat(n, 3, func(at int) error {
		patch := fmt.Sprintf(`{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.%d"}]}}}`, 1+at%200)
		return errors.Join(
			m.patchAs("ingress-controller", ingresses, "entrance", patch, "status"),
			m.patchAs("cloud-controller-manager", services, "edge", patch, "status"),
			m.patchAs("kube-controller-manager", cronJobs, "nightly", fmt.Sprintf(`{"status":{"lastSuccessfulTime":%q}}`, second(at)), "status"))
	})
}

// failProbes has the readiness probe of each storefront fail; the kubelet sees
// it succeed again.
func (m *machines) failProbes(_ int) error {
	all, err := m.client.Resource(pods).Namespace(m.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "app=storefront"})
	if err != nil {
		return err
	}
	for _, pod := range all.Items {
		patch := `{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`
		if err := m.patchAs("kubelet", pods, pod.GetName(), patch, "status"); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// writeChecksums is what charts and reloaders do for another object's change; in
// the Pod template it makes a rollout.
func (m *machines) writeChecksums(n int) error {
	sum := fmt.Sprintf(`{"annotations":{"checksum/config":"%08x"}}`, n)
	if n%4 == 0 {
		if err := m.patchAs("reloader", deployments, "reports", `{"spec":{"template":{"metadata":`+sum+`}}}`); err != nil {
			return err
		}
	}
	return m.patchAs("reloader", configMaps, "bundle", `{"metadata":`+sum+`}`)
}

// runJob starts a Job as the CronJob's controller does, which keeps three of
// them and deletes the others.
func (m *machines) runJob(n int) error {
	cron, err := m.client.Resource(cronJobs).Namespace(m.namespace).Get(context.Background(), "nightly", metav1.GetOptions{})
	if err != nil {
		return err
	}
	job := object("batch/v1", "Job", fmt.Sprintf("nightly-%d", n), map[string]any{"spec": jobSpec()})
	job.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(cron, cron.GroupVersionKind())})
	_, err = m.client.Resource(jobs).Namespace(m.namespace).Create(context.Background(), job, metav1.CreateOptions{FieldManager: "kube-controller-manager"})
	return err
}
