{{/* The name of everything. */}}
{{- define "kwatchman.fullname" -}}
{{- $name := default .Release.Name .Values.fullnameOverride | replace "." "-" -}}
{{- if not (or .Values.fullnameOverride (contains "kwatchman" $name)) }}{{ $name = printf "%s-kwatchman" $name }}{{ end -}}
{{- /* A Service's name begins with a letter. */ -}}
{{- if regexMatch "^[0-9]" $name }}{{ $name = printf "k-%s" $name }}{{ end -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* The name of what is not in the release's namespace; two releases of one name do not meet. */}}
{{- define "kwatchman.clusterName" -}}
{{- $name := include "kwatchman.fullname" . -}}
{{- if eq $name .Release.Namespace }}{{ $name }}{{ else }}{{ printf "%s:%s" .Release.Namespace $name }}{{ end -}}
{{- end }}

{{- define "kwatchman.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "kwatchman.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{/* Labels that select Pods: (list $ component). */}}
{{- define "kwatchman.selector" -}}
app.kubernetes.io/name: kwatchman
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 | quote }}
{{- end }}

{{/* Labels of an object: (list $ component). */}}
{{- define "kwatchman.labels" -}}
{{- $root := index . 0 -}}
{{ include "kwatchman.selector" . }}
app.kubernetes.io/version: {{ $root.Values.image.tag | default $root.Chart.AppVersion | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_." }}
{{- end }}

{{/* metadata of an object: (list $ name component). */}}
{{- define "kwatchman.metadata" -}}
{{- $root := index . 0 -}}
metadata:
  name: {{ index . 1 | quote }}
  namespace: {{ $root.Release.Namespace | quote }}
  labels:
    {{- include "kwatchman.labels" (list $root (index . 2)) | nindent 4 }}
{{- end }}

{{/* labels and annotations of a Pod: (list $ component). */}}
{{- define "kwatchman.podMetadata" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "kwatchman.labels" . | nindent 2 }}
  {{- with omit $root.Values.pod.labels "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What all Pods share, as `restricted` Pod Security wants it. */}}
{{- define "kwatchman.podSpec" -}}
enableServiceLinks: false
automountServiceAccountToken: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.pod.user }}
  runAsGroup: {{ .Values.pod.user }}
  fsGroup: {{ .Values.pod.user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.pod.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.pod.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What a container may do. Knative lets Pods say little, so there its containers say all of it. */}}
{{- define "kwatchman.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- if index . 1 }}
  runAsNonRoot: true
  runAsUser: {{ (index . 0).Values.pod.user }}
  seccompProfile: {type: RuntimeDefault}
{{- end }}
{{- end }}

{{/* image and pull policy: (list $ override name). */}}
{{- define "kwatchman.image" -}}
{{- $root := index . 0 -}}
image: {{ index . 1 | default (printf "%s/%s:%s" $root.Values.image.registry (index . 2) ($root.Values.image.tag | default $root.Chart.AppVersion)) | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
{{- end }}

{{/* A setting as the environment takes it: lists with commas, whole numbers. Kubernetes expands what begins with $. */}}
{{- define "kwatchman.value" -}}
{{- if kindIs "slice" . }}{{ join "," . | replace "$" "$$" }}
{{- else if kindIs "float64" . }}{{ printf "%.0f" . }}
{{- else }}{{ toString . | replace "$" "$$" }}
{{- end }}
{{- end }}

{{/* Settings and secrets as variables: (list prefix settings secrets where). */}}
{{- define "kwatchman.env" -}}
{{- $prefix := index . 0 }}{{ $settings := index . 1 | default dict }}{{ $secrets := index . 2 | default dict }}{{ $where := index . 3 -}}
{{- range $key, $value := $settings }}
{{- if hasKey $secrets $key }}{{ fail (printf "%s.settings.%s: it is in secrets too; give one of the two" $where $key) }}{{ end }}
{{- if not (kindIs "invalid" $value) }}
- name: {{ printf "%s_%s" $prefix (ternary "URL" (snakecase $key | upper) (and (eq $prefix "WEBHOOK") (eq $key "endpoint"))) }}
  value: {{ include "kwatchman.value" $value | quote }}
{{- end }}
{{- end }}
{{- range $key, $from := $secrets }}
- name: {{ printf "%s_%s" $prefix (ternary "URL" (snakecase $key | upper) (and (eq $prefix "WEBHOOK") (eq $key "endpoint"))) }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.name | quote }}
      key: {{ $from.key | quote }}
{{- end }}
{{- end }}

{{/* The steps of the chain that run here, each once: {"names": […]}. What Knative gives up is printed by one more. */}}
{{- define "kwatchman.functions" -}}
{{- range list "watcher" "test" "chain" }}
{{- if hasKey $.Values.functions . }}{{ fail (printf "functions.%s: the chart has another use for this name" .) }}{{ end }}
{{- end }}
{{- $names := list }}
{{- range uniq .Values.chain }}
{{- if not (contains "://" .) }}
{{- $f := index $.Values.functions . }}
{{- if kindIs "invalid" $f }}{{ fail (printf "chain: %q is no function; functions are %s, or give it an entry under functions" . (keys $.Values.functions | sortAlpha | join ", ")) }}{{ end }}
{{- $names = append $names . }}
{{- end }}
{{- end }}
{{- if and (eq .Values.mode "knative") (not .Values.knative.deadLetterSink) }}
{{- if not (hasKey .Values.functions "dead-letter") }}
{{- $_ := set .Values.functions "dead-letter" (dict "function" "log" "settings" (dict "format" "json")) }}
{{- end }}
{{- $names = append $names "dead-letter" | uniq }}
{{- end }}
{{- toYaml (dict "names" $names) }}
{{- end }}

{{/* The built-in function that an entry under functions is, or nothing: (list $ name). */}}
{{- define "kwatchman.builtIn" -}}
{{- $f := index (index . 0).Values.functions (index . 1) -}}
{{- if $f.function }}{{ $f.function }}
{{- else if has (index . 1) (list "diff" "exec" "filter" "ignoreevents" "log" "slack" "webhook") }}{{ index . 1 }}
{{- end }}
{{- end }}

{{/* The fields of a function's container but its name, port and probes: (list $ name). */}}
{{- define "kwatchman.functionContainer" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}{{ $f := index $root.Values.functions $name -}}
{{- $builtIn := include "kwatchman.builtIn" . -}}
{{- include "kwatchman.require" . -}}
{{- if and (not $builtIn) (not $f.image) }}{{ fail (printf "functions.%s: give it an image, or the function that it is a copy of" $name) }}{{ end -}}
{{ include "kwatchman.image" (list $root $f.image $builtIn) }}
{{ include "kwatchman.containerSecurity" (list $root (eq $root.Values.mode "knative")) }}
resources:
  {{- toYaml ($f.resources | default (dict "requests" (dict "cpu" "5m" "memory" "24Mi") "limits" (dict "memory" "256Mi"))) | nindent 2 }}
{{- $mounts := list }}
{{- if $builtIn }}{{ $mounts = include "kwatchman.hopMounts" (list $root "function") | fromYamlArray }}{{ end }}
{{- with concat $mounts ($f.extraVolumeMounts | default list) }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The volumes of a Pod with these functions: (list $ names). */}}
{{- define "kwatchman.functionVolumes" -}}
{{- $root := index . 0 }}{{ $volumes := list }}
{{- range index . 1 }}
{{- if include "kwatchman.builtIn" (list $root .) }}{{ $volumes = concat $volumes (include "kwatchman.hopVolumes" (list $root "function") | fromYamlArray) }}{{ end }}
{{- $volumes = concat $volumes ((index $root.Values.functions .).extraVolumes | default list) }}
{{- end }}
{{- with uniq $volumes }}{{ toYaml . }}{{ end }}
{{- end }}

{{/* Its variables but PORT: (list $ name). */}}
{{- define "kwatchman.functionEnv" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}{{ $f := index $root.Values.functions $name -}}
{{- $prefix := include "kwatchman.builtIn" . | default $name | upper | replace "-" "_" -}}
{{- if include "kwatchman.builtIn" . }}{{ include "kwatchman.signingEnv" (list $root "SIGNING_KEY") }}{{ include "kwatchman.hopEnv" (list $root "function") }}{{ end }}
{{- include "kwatchman.tracingEnv" $root }}
{{- if $root.Values.tracing.endpoint }}
- name: OTEL_SERVICE_NAME
  value: {{ printf "kwatchman-%s" $name | quote }}
{{- end }}
{{- include "kwatchman.env" (list $prefix $f.settings $f.secrets (printf "functions.%s" $name)) }}
{{- with $f.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Whether Pods of a function may reach out: (list $ name). */}}
{{- define "kwatchman.reachesOut" -}}
{{- $f := index (index . 0).Values.functions (index . 1) -}}
{{- if hasKey $f "egress" }}{{ ternary "true" "" $f.egress }}
{{- else if has (include "kwatchman.builtIn" .) (list "slack" "webhook") }}true
{{- end }}
{{- end }}

{{/*
The port of a function where several share a Pod. It does not depend on the chain: a dead letter, which names the step by its
host and port, finds it after another one has come or gone. (list $ name)
*/}}
{{- define "kwatchman.port" -}}
{{- $root := index . 0 }}{{ $name := index . 1 -}}
{{- $fixed := dict "diff" 8081 "exec" 8082 "filter" 8083 "ignoreevents" 8084 "log" 8085 "slack" 8086 "webhook" 8087 -}}
{{- $f := index $root.Values.functions $name -}}
{{- if $f.port }}{{ $f.port }}
{{- else if hasKey $fixed $name }}{{ index $fixed $name }}
{{- else }}
{{- range $i, $own := keys (omit $root.Values.functions "diff" "exec" "filter" "ignoreevents" "log" "slack" "webhook") | sortAlpha }}
{{- if eq $own $name }}{{ add 8100 $i }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The port of its metrics there. */}}
{{- define "kwatchman.metricsPort" -}}
{{- add 1000 (include "kwatchman.port" .) -}}
{{- end }}

{{/*
Probes: of our own functions by HTTP; another handler need not answer GET. Kubernetes shows no certificate, so with TLS the port of
the metrics is asked. (list $ name port path)
*/}}
{{- define "kwatchman.probe" -}}
{{- $of := list (index . 0) (index . 1) -}}
{{- if include "kwatchman.servesTLS" $of -}}
httpGet: {path: {{ index . 3 }}, port: {{ if eq (index . 0).Values.mode "sidecar" }}{{ include "kwatchman.metricsPort" $of }}{{ else }}metrics{{ end }}}
{{- else if include "kwatchman.builtIn" $of -}}
httpGet: {path: {{ index . 3 }}, port: {{ index . 2 }}}
{{- else -}}
tcpSocket: {port: {{ index . 2 }}}
{{- end }}
{{- end }}

{{/* What a function cannot do without: (list $ name). */}}
{{- define "kwatchman.require" -}}
{{- $f := index (index . 0).Values.functions (index . 1) -}}
{{- $of := include "kwatchman.builtIn" . -}}
{{- $need := dict "exec" (list "command" "shell") "filter" (list "rule" "rules") "slack" (list "webhookURL" "token") "webhook" (list "endpoint" "preset") -}}
{{- if and (hasKey $need $of) (not $f.extraEnv) }}
{{- $found := false }}
{{- range index $need $of }}
{{- if or (hasKey ($f.settings | default dict) .) (hasKey ($f.secrets | default dict) .) }}{{ $found = true }}{{ end }}
{{- end }}
{{- if not $found }}
{{- fail (printf "functions.%s: it is in the chain and needs %s, under settings or secrets" (index . 1) (index $need $of | join " or ")) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The keys of signatures: (list $ variable). Knative passes no foreign headers on. */}}
{{- define "kwatchman.signingEnv" -}}
{{- $from := (index . 0).Values.signing.secret }}
{{- if and $from (ne (index . 0).Values.mode "knative") }}
- name: {{ index . 1 }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.name | quote }}
      key: {{ $from.key | quote }}
{{- end }}
{{- end }}

{{/*
What each end of a hop has as files, so that they may be renewed: (list $ "watcher" or "function"). Knative passes no foreign
headers on, and has certificates of its own.
*/}}
{{- define "kwatchman.hopEnv" -}}
{{- range include "kwatchman.hopVolumesOf" . | fromYamlArray }}
{{- $volume := .volume }}
{{- range .files }}
- name: {{ .variable }}
  value: /etc/kwatchman-{{ $volume }}/{{ .path }}
{{- end }}
{{- end }}
{{- end }}

{{- define "kwatchman.hopMounts" -}}
{{- range include "kwatchman.hopVolumesOf" . | fromYamlArray }}
- name: {{ .volume }}
  mountPath: /etc/kwatchman-{{ .volume }}
  readOnly: true
{{- end }}
{{- end }}

{{- define "kwatchman.hopVolumes" -}}
{{- range include "kwatchman.hopVolumesOf" . | fromYamlArray }}
- name: {{ .volume }}
  secret:
    secretName: {{ .secret | quote }}
    items:
      {{- range .files }}
      - {key: {{ .key | quote }}, path: {{ .path }}}
      {{- end }}
{{- end }}
{{- end }}

{{- define "kwatchman.hopVolumesOf" -}}
{{- $values := (index . 0).Values }}{{ $watcher := eq (index . 1) "watcher" }}{{ $volumes := list }}
{{- if and $values.token.accepted (not $values.token.secret) }}{{ fail "token.accepted: give token.secret too, or the watcher has no token to send" }}{{ end }}
{{- if ne $values.mode "knative" }}
{{- with ternary $values.token.secret ($values.token.accepted | default $values.token.secret) $watcher }}
{{- $file := dict "variable" (ternary "KW_TOKEN_FILE" "TOKEN_FILE" $watcher) "key" .key "path" (ternary "token" "tokens" $watcher) }}
{{- $volumes = append $volumes (dict "volume" $file.path "secret" .name "files" (list $file)) }}
{{- end }}
{{- with $values.tls.secret }}
{{- $files := list }}
{{- range $variable, $key := ternary
      (dict "KW_TLS_CERT_FILE" "tls.crt" "KW_TLS_KEY_FILE" "tls.key" "KW_TLS_CA_FILE" "ca.crt")
      (dict "TLS_CERT_FILE" "tls.crt" "TLS_KEY_FILE" "tls.key" "TLS_CLIENT_CA_FILE" "ca.crt") $watcher }}
{{- $files = append $files (dict "variable" $variable "key" $key "path" $key) }}
{{- end }}
{{- $volumes = append $volumes (dict "volume" (ternary "client-tls" "server-tls" $watcher) "secret" (ternary ($values.tls.watcher | default .) . $watcher) "files" $files) }}
{{- end }}
{{- end }}
{{- if $watcher }}
{{- range $volumes }}
{{- $of := ternary "token" "tls" (eq .volume "token") }}
{{- range $key := ternary (list "tokenFile") (list "tlsCertFile" "tlsKeyFile" "tlsCaFile") (eq $of "token") }}
{{- if or (hasKey $values.watcher.settings $key) (hasKey $values.watcher.secrets $key) }}
{{- fail (printf "watcher.settings.%s: %s.secret is set too; give one of the two" $key $of) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $volumes }}
{{- end }}

{{/* Whether a function serves TLS: (list $ name). */}}
{{- define "kwatchman.servesTLS" -}}
{{- if and (index . 0).Values.tls.secret (ne (index . 0).Values.mode "knative") (include "kwatchman.builtIn" .) }}true{{ end }}
{{- end }}

{{/* Where traces go, in OpenTelemetry's own variables. */}}
{{- define "kwatchman.tracingEnv" -}}
{{- with .Values.tracing }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ include "kwatchman.value" .endpoint | quote }}
{{- with .sampler }}
- name: OTEL_TRACES_SAMPLER
  value: {{ . | quote }}
{{- end }}
{{- if ne (toString .samplerArg) "" }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ toString .samplerArg | quote }}
{{- end }}
{{- with .headers }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- else if or .sampler (ne (toString .samplerArg) "") .headers }}{{ fail "tracing: give it an endpoint" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The port of the collector. */}}
{{- define "kwatchman.tracingPort" -}}
{{- $u := urlParse .Values.tracing.endpoint -}}
{{- regexFind ":[0-9]+$" $u.host | trimPrefix ":" | default (ternary "443" "80" (eq $u.scheme "https")) -}}
{{- end }}
