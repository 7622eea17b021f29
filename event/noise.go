package event

// noise is the one list of fields that Kubernetes itself writes on nearly
// every update and that nobody asked to read.
var noise = [...][]string{
	{"metadata", "managedFields"},
	{"metadata", "resourceVersion"},
	{"metadata", "generation"},
	{"metadata", "uid"},
	{"metadata", "creationTimestamp"},
	{"metadata", "selfLink"},
	{"metadata", "annotations", "deployment.kubernetes.io/revision"},
	{"metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"},
	{"status"},
}

// Clean removes the noise list from a decoded manifest of any kind. A map that
// this empties goes too, so that it does not show as a change of its own.
func Clean(manifest map[string]any) {
	for _, path := range noise {
		remove(manifest, path)
	}
}

func remove(m map[string]any, path []string) {
	if len(path) == 1 {
		delete(m, path[0])
		return
	}
	child, ok := m[path[0]].(map[string]any)
	if !ok {
		return
	}
	remove(child, path[1:])
	if len(child) == 0 {
		delete(m, path[0])
	}
}
