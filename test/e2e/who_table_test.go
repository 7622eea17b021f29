package e2e

// whoManifests are what the commands change.
const whoManifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web, tier: front}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: app
        image: web:1
        env: [{name: LEVEL, value: info}, {name: MODE, value: fast}]
        resources: {requests: {cpu: 100m}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: conf, annotations: {owner: shop}}
data: {a: "1", b: "1"}
`

const whoAutoscaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 5
  maxReplicas: 9
`

// who is a command and what changedBy then says of the first change of path.
type who struct {
	given   string // commands before
	command string
	object  string // kind/name
	path    string // empty: the object is new
	want    string // "manager operation subresource", separated by commas; empty: not recorded
}

const (
	apply     = "kubectl apply -f web.yaml"
	serverApp = "kubectl apply --server-side --field-manager=gitops -f web.yaml"
	web       = "Deployment/web"
	conf      = "ConfigMap/conf"

	withoutData = "sed '/^data:/d' web.yaml"
	orNobody    = " or nobody" // if the manager wrote in that second already

	waitRevision = `kubectl wait deployment/web --for=jsonpath='{.metadata.annotations.deployment\.kubernetes\.io/revision}'`
	image        = "spec.template.spec.containers"
)

func whoTable() []who {
	return []who{
		{"", "kubectl create -f web.yaml", web, "", "kubectl-create Update"},
		{"", apply, web, "", "kubectl-client-side-apply Update"},
		{"", serverApp, web, "", "gitops Apply"},
		{"", "kubectl create configmap conf --from-literal=a=1", conf, "", "kubectl-create Update"},
		{apply, "sed s/web:1/web:2/ web.yaml | kubectl apply -f -", web, image, "kubectl-client-side-apply Update"},
		{serverApp, "sed s/web:1/web:2/ web.yaml | kubectl apply --server-side --field-manager=gitops -f -", web, image, "gitops Apply"},
		{apply, "sed s/web:1/web:2/ web.yaml | kubectl replace -f -", web, image, "kubectl-replace Update"},
		{apply, `KUBE_EDITOR="sed -i s/web:1/web:2/" kubectl edit deployment web`, web, image, "kubectl-edit Update"},
		{apply, "kubectl set image deployment/web app=web:2", web, image, "kubectl-set Update"},
		{apply, "kubectl set env deployment/web LEVEL=debug", web, image, "kubectl-set Update"},
		{apply, "kubectl set resources deployment/web --limits=cpu=1", web, image, "kubectl-set Update"},
		{apply, "kubectl scale deployment/web --replicas=5", web, "spec.replicas", "kubectl Update scale"},
		{apply + "; kubectl scale deployment/web --replicas=5", "kubectl scale deployment/web --replicas=7", web, "spec.replicas", "kubectl Update scale"},
		{apply, "kubectl label deployment web team=shop", web, "metadata.labels.team", "kubectl-label Update"},
		{apply, "kubectl label deployment web tier=back --overwrite", web, "metadata.labels.tier", "kubectl-label Update"},
		{apply, "kubectl annotate deployment web note=x", web, "metadata.annotations.note", "kubectl-annotate Update"},
		{apply, `kubectl patch configmap conf -p '{"data":{"a":"2"}}'`, conf, "data", "kubectl-patch Update"},
		{apply, `kubectl patch configmap conf --field-manager=operator -p '{"data":{"a":"2"}}'`, conf, "data", "operator Update"},
		{apply + `; kubectl patch configmap conf -p '{"data":{"a":"2"}}'`, `kubectl patch configmap conf -p '{"data":{"a":"3"}}'`, conf, "data", "kubectl-patch Update"},
		{apply, `kubectl patch deployment web --subresource=status --type=merge -p '{"status":{"collisionCount":7}}'`, web, "status.collisionCount", "kubectl-patch Update status"},
		{apply, "kubectl rollout restart deployment/web", web, "spec.template", "kubectl-rollout Update"},
		{apply, "kubectl rollout pause deployment/web", web, "spec.paused", "kubectl-rollout Update"},

		// What controllers write.
		{apply, "kubectl set image deployment/web app=web:2", web, "status.observedGeneration", "kube-controller-manager Update status"},
		{
			apply + "; " + waitRevision + "=1; kubectl set image deployment/web app=web:2; " + waitRevision + "=2",
			"kubectl rollout undo deployment/web", web, image, "kubectl Update",
		},
		{apply, "kubectl apply -f hpa.yaml", web, "spec.replicas", "kube-controller-manager Update scale"},
		{apply + "; kubectl apply -f hpa.yaml; kubectl wait --for=jsonpath='{.spec.replicas}'=5 deployment/web", "kubectl scale deployment/web --replicas=8", web, "spec.replicas", "kubectl Update scale"},

		// Kubernetes records nobody for what an update removes.
		{apply, "kubectl label deployment web tier-", web, "metadata.labels.tier", ""},
		{apply, "kubectl annotate configmap conf owner-", conf, "metadata.annotations.owner", ""},
		{apply, "kubectl set env deployment/web MODE-", web, image, ""},
		{apply, `kubectl patch configmap conf -p '{"data":{"b":null}}'`, conf, "data", ""},
		{apply, `KUBE_EDITOR="sed -i '/^  b:/d'" kubectl edit configmap conf`, conf, "data", ""},

		// Of a removal by apply it records when its manager wrote, to the second.
		{apply, withoutData + " | kubectl apply -f -", conf, "data", "kubectl-client-side-apply Update" + orNobody},
		{serverApp, withoutData + " | kubectl apply --server-side --field-manager=gitops -f -", conf, "data", "gitops Apply" + orNobody},
	}
}
