package main

import "slices"

// prepare runs before the watcher starts: it is to know the custom resources.
const prepare = `
kubectl apply -f crds.yaml
kubectl wait --for=condition=Established crd databases.example.com certificates.example.org
`

func scenarios() []scenario {
	return slices.Concat(
		rollouts(), pods(), metadata(), scaling(), workloads(), config(), files(), secrets(), network(), access(), limits(),
		clusterWide(), nodes(), storage(), certificates(), custom(), machines(),
	)
}

// applied applies a manifest.
func applied(file string) string { return "kubectl apply -f " + file }

// fresh applies a manifest of what has no namespace, as if it had not been there.
func fresh(file string) string {
	return "kubectl delete --ignore-not-found -f " + file + "\n" + applied(file)
}

// edited applies a manifest with a line of it changed by sed.
func edited(file, sed string) string {
	return "sed '" + sed + "' " + file + " | kubectl apply -f -"
}

// patched is a patch of an object, written as manager if that is not empty.
func patched(object, manager, patch string) string {
	if manager != "" {
		object += " --field-manager=" + manager
	}
	return "kubectl patch " + object + " -p '" + patch + "'"
}
