# What a kubelet would report: all pods run and are ready.
for pod in $(kubectl get pods -o name); do
	kubectl patch "$pod" --subresource=status -p '{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}' ||
		kubectl get pods # it was deleted meanwhile
done
