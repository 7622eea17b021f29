package main

func config() []scenario {
	all := []scenario{
		{name: "configmap-value", what: "kubectl edit configmap web: a value of one word", do: `KUBE_EDITOR="sed -i s/LOG_LEVEL:.info/LOG_LEVEL:\ debug/" kubectl edit configmap web`},
		{name: "configmap-yaml", what: "kubectl apply: a value deep in an embedded YAML file, and an item inserted first", do: edited("config.yaml", `s/new: 5%/new: 25%/; s|    - name: cart|    - name: pricing\n      url: http://pricing:8080\n&|`)},
		{name: "configmap-yaml-comment", what: "kubectl apply: a comment in an embedded YAML file", do: edited("config.yaml", `s/# How much goes.*/# Agreed with the team of the checkout./`)},
		{name: "configmap-json", what: "kubectl apply: two values of an embedded JSON file", do: edited("config.yaml", `s/"burst": 20/"burst": 40/; s/"limit": 50/"limit": 75/`)},
		{name: "configmap-properties", what: "kubectl apply: a changed line, a removed one and a new one of a properties file", do: edited("config.yaml", `s/page.size=24/page.size=48/; /cache.ttl=60/d; /currency=EUR/a \    language=en`)},
		{name: "configmap-nginx", what: "kubectl apply: an nginx configuration", do: edited("config.yaml", `s/proxy_read_timeout 30s;/proxy_read_timeout 90s;/; s|        location / {|        client_max_body_size 16m;\n&|`)},
		{name: "configmap-text", what: "kubectl apply: a line of a text", do: edited("config.yaml", `s/two days/three days/`)},
		{name: "configmap-password", what: "kubectl apply: a password in a properties file", do: edited("config.yaml", `/currency=EUR/a \    db.password=s3cr3t-example`)},
		{name: "configmap-binary", what: "kubectl apply: another picture", do: edited("config.yaml", `s|42mNk+M9QDwADhgGAWjR9aw|42mP8z8BQDwAEhQGAhKmMIQ|`)},
	}
	for i := range all {
		all[i].given, all[i].keep = applied("config.yaml"), one("ConfigMap/web")
	}
	return all
}

func files() []scenario {
	return []scenario{
		{name: "configmap-created", do: applied("config.yaml"), keep: one("Add ConfigMap/web")},
		{name: "configmap-deleted", given: applied("config.yaml"), do: "kubectl delete configmap web", keep: one("Delete ConfigMap/web")},
		{name: "configmap-immutable", given: applied("config.yaml"), do: patched("configmap web", "", `{"immutable":true}`), keep: one("ConfigMap/web immutable")},
		{name: "configmap-key-added", given: applied("config.yaml"), do: patched("configmap web", "", `{"data":{"FEATURES":null,"robots.txt":"User-agent: *\nDisallow: /cart\n"}}`), keep: one("ConfigMap/web data")},
		{name: "configmap-binary-new", given: applied("config.yaml"), do: patched("configmap web", "", `{"binaryData":{"icon.ico":"AAABAAEAEBACAAEAAQCwAAAA"}}`), keep: one("ConfigMap/web binaryData")},
	}
}

func secrets() []scenario {
	const given = "kubectl create secret generic web --from-literal=password=first-example --from-literal=user=web"
	data := one("Secret/web data")
	return []scenario{
		{name: "secret-created", do: given, keep: one("Add Secret/web")},
		{name: "secret-rotated", what: "The password of a Secret is rotated", given: given, do: patched("secret web", "", `{"stringData":{"password":"second-example"}}`), keep: data},
		{name: "secret-key-added", what: "A key is added to a Secret", given: given, do: patched("secret web", "", `{"stringData":{"token":"third-example"}}`), keep: data},
		{name: "secret-key-removed", given: given, do: patched("secret web", "", `{"data":{"user":null}}`), keep: data},
		{name: "secret-label", given: given, do: "kubectl label secret web rotation=monthly", keep: one("Secret/web metadata.labels")},
		{name: "secret-deleted", given: given, do: "kubectl delete secret web", keep: one("Delete Secret/web")},
		{
			name: "secret-tls-rotated", what: "The certificate of a Secret of type kubernetes.io/tls is renewed",
			given: "kubectl create secret generic web --type=kubernetes.io/tls --from-file=tls.crt=ca-1.pem --from-literal=tls.key=first-example --from-literal=ca.crt=ca",
			do:    patched("secret web", "cert-manager-certificates-issuing", `{"stringData":{"tls.crt":"second-example","tls.key":"third-example"}}`), keep: data,
		},
	}
}
