package main

// webhooks applies what has a CA bundle.
func webhooks(ca string) string {
	return `sed "s/CABUNDLE/$(base64 < ` + ca + ` | tr -d '\n')/" webhooks.yaml | kubectl apply -f -`
}

const forget = "kubectl delete --ignore-not-found validatingwebhookconfiguration/shop mutatingwebhookconfiguration/sidecar\n"

func certificates() []scenario {
	return []scenario{
		{
			name: "ca-bundle", what: "The CA of the webhooks is rotated", given: forget + webhooks("ca-1.pem"), do: webhooks("ca-2.pem"),
			keep: []pick{
				{"validating", "ValidatingWebhookConfiguration/shop webhooks", "In a ValidatingWebhookConfiguration."},
				{"mutating", "MutatingWebhookConfiguration/sidecar webhooks", "In a MutatingWebhookConfiguration."},
				{"conversion", "CustomResourceDefinition/queues.example.net spec", "In the conversion of a CustomResourceDefinition."},
				{"apiservice", "APIService/v1beta1.reports.example.com spec", "In an APIService."},
			},
		},
		{
			name: "webhook-policy", given: forget + webhooks("ca-2.pem"), keep: one("ValidatingWebhookConfiguration/shop webhooks"),
			do: patched("validatingwebhookconfiguration shop", "", `{"webhooks":[{"name":"databases.shop.example.com","failurePolicy":"Fail","timeoutSeconds":5,"rules":[{"apiGroups":["example.com"],"apiVersions":["v1"],"operations":["CREATE","UPDATE"],"resources":["databases"]}]}]}`),
		},
		{
			name: "webhook-inserted", what: "A webhook is inserted first", given: forget + webhooks("ca-2.pem"), keep: one("MutatingWebhookConfiguration/sidecar webhooks"),
			do: patched("mutatingwebhookconfiguration sidecar --type=json", "", `[{"op":"add","path":"/webhooks/0","value":{"name":"defaults.sidecar.example.com","clientConfig":{"url":"https://injector.example.com/defaults"},"rules":[{"apiGroups":["apps"],"apiVersions":["v1"],"operations":["CREATE"],"resources":["deployments"]}],"namespaceSelector":{"matchLabels":{"environment":"production"}},"failurePolicy":"Ignore","sideEffects":"None","admissionReviewVersions":["v1"]}}]`),
		},
	}
}

func custom() []scenario {
	crd := func(name, what, patch string) scenario {
		return scenario{
			name: name, what: what, given: fresh("crd.yaml"),
			do: patched("crd topics.example.net --type=json", "", patch), keep: one("CustomResourceDefinition/topics.example.net spec"),
		}
	}
	all := []scenario{
		{name: "database-user-first", what: "kubectl apply: a user is inserted first", do: edited("custom.yaml", `s|  users:|&\n  - {name: admin, roles: [owner]}|`), keep: one("Database/orders spec")},
		{name: "database-user-limit", what: "kubectl apply: a limit of one user and a role of another", do: edited("custom.yaml", `s/connectionLimit: 50/connectionLimit: 80/; s/roles: \[read\]/roles: [read, export]/`), keep: one("Database/orders spec")},
		{name: "database-version", do: patched("database orders --type=merge", "", `{"spec":{"version":"17.0","parameters":{"max_connections":"400"}}}`), keep: one("Database/orders spec")},
		{name: "database-ready", what: "The operator reports that it is ready", do: patched("database orders --subresource=status --type=merge", "operator", `{"status":{"replicas":1,"observedGeneration":1,"conditions":[{"type":"Ready","status":"True","reason":"Running","lastTransitionTime":"2026-01-01T10:00:00Z"}]}}`), keep: one("Database/orders status")},
		{name: "database-deleted", do: "kubectl delete database orders", keep: one("Delete Database/orders")},
		{name: "certificate-names", do: patched("certificate shop --type=merge", "", `{"spec":{"dnsNames":["store.example.com","shop.example.com","www.shop.example.com"]}}`), keep: one("Certificate/shop spec")},
		{name: "certificate-issuer", do: patched("certificate shop --type=merge", "", `{"spec":{"issuerRef":{"name":"public-ca"},"duration":"1440h"}}`), keep: one("Certificate/shop spec")},
		{
			name: "certificate-renewed", what: "The certificate is renewed, and its condition flips", keep: one("Certificate/shop status.revision"),
			do: patched("certificate shop --subresource=status --type=merge", "cert-manager-certificates-readiness", `{"status":{"revision":1,"notAfter":"2026-03-01T00:00:00Z","conditions":[{"type":"Ready","status":"False","reason":"Expired","lastTransitionTime":"2026-02-01T00:00:00Z"}]}}`) + "\n" +
				patched("certificate shop --subresource=status --type=merge", "cert-manager-certificates-readiness", `{"status":{"revision":2,"notAfter":"2026-06-01T00:00:00Z","conditions":[{"type":"Ready","status":"True","reason":"Ready","lastTransitionTime":"2026-03-01T00:00:00Z"}]}}`),
		},
	}
	for i := range all {
		all[i].given = applied("custom.yaml")
	}
	return append(all,
		scenario{name: "certificate-created", do: applied("custom.yaml"), keep: one("Add Certificate/shop")},
		crd("crd-schema", "A field is added to the schema of a custom resource, another value to an enumeration",
			`[{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/retention","value":{"type":"object","properties":{"hours":{"type":"integer"}}}},{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/enum/-","value":"compact"}]`),
		crd("crd-version", "A version is added to a custom resource, before the one there is",
			`[{"op":"add","path":"/spec/versions/0","value":{"name":"v2","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}]`),
	)
}
