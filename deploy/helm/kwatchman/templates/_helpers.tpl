{{/* The name of everything. */}}
{{- define "kwatchman.fullname" -}}
{{- $name := default .Release.Name .Values.fullnameOverride -}}
{{- if not (contains "kwatchman" $name) }}{{ $name = printf "%s-kwatchman" $name }}{{ end -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* The name of what is not in the release's namespace; two releases of one name do not meet. */}}
{{- define "kwatchman.clusterName" -}}
{{- $name := include "kwatchman.fullname" . -}}
{{- if eq $name .Release.Namespace }}{{ $name }}{{ else }}{{ printf "%s-%s" .Release.Namespace $name }}{{ end -}}
{{- end }}

{{- define "kwatchman.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "kwatchman.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{/* Labels that select Pods: (list $ component). */}}
{{- define "kwatchman.selector" -}}
app.kubernetes.io/name: kwatchman
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
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
  name: {{ index . 1 }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "kwatchman.labels" (list $root (index . 2)) | nindent 4 }}
{{- end }}

{{/* labels and annotations of a Pod: (list $ component). */}}
{{- define "kwatchman.podMetadata" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "kwatchman.labels" . | nindent 2 }}
  {{- with $root.Values.pod.labels }}
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
  - name: {{ . }}
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
priorityClassName: {{ . }}
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
image: {{ index . 1 | default (printf "%s/%s:%s" $root.Values.image.registry (index . 2) ($root.Values.image.tag | default $root.Chart.AppVersion)) }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
{{- end }}

{{/* A setting as the environment takes it: lists with commas, whole numbers; $( would be expanded by Kubernetes. */}}
{{- define "kwatchman.value" -}}
{{- if kindIs "slice" . }}{{ join "," . | replace "$(" "$$(" }}
{{- else if kindIs "float64" . }}{{ printf "%.0f" . }}
{{- else }}{{ toString . | replace "$(" "$$(" }}
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
      name: {{ $from.name }}
      key: {{ $from.key }}
{{- end }}
{{- end }}

{{/* The steps of the chain that run here, each once: {"names": […]}. What Knative gives up is printed by one more. */}}
{{- define "kwatchman.functions" -}}
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
{{- if and (not $builtIn) (not $f.image) }}{{ fail (printf "functions.%s: give it an image, or the function that it is a copy of" $name) }}{{ end -}}
{{ include "kwatchman.image" (list $root $f.image $builtIn) }}
{{ include "kwatchman.containerSecurity" (list $root (eq $root.Values.mode "knative")) }}
resources:
  {{- toYaml ($f.resources | default (dict "requests" (dict "cpu" "5m" "memory" "24Mi") "limits" (dict "memory" "256Mi"))) | nindent 2 }}
{{- with $f.extraVolumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Its variables but PORT: (list $ name). */}}
{{- define "kwatchman.functionEnv" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}{{ $f := index $root.Values.functions $name -}}
{{- $prefix := include "kwatchman.builtIn" . | default $name | upper | replace "-" "_" -}}
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
