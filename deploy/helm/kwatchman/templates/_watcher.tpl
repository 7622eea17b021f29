{{/* Whether a resource has a scope of its own, so that a configuration file is needed. */}}
{{- define "kwatchman.scoped" -}}
{{- range .Values.resources }}{{ if kindIs "map" . }}true{{ end }}{{ end }}
{{- end }}

{{/* What is watched, in words. */}}
{{- define "kwatchman.kinds" -}}
{{- range $i, $r := .Values.resources }}{{ if $i }}, {{ end }}{{ if kindIs "map" $r }}{{ $r.kind }}{{ else }}{{ $r }}{{ end }}{{ end }}
{{- end }}

{{/* The resources as a configuration file. A scope that an entry does not have is the release's. */}}
{{- define "kwatchman.configFile" -}}
resource:
{{- range .Values.resources }}
{{- $r := ternary . (dict "kind" .) (kindIs "map" .) }}
  - kind: {{ $r.kind | quote }}
    {{- with (ternary $r.namespaces $.Values.namespaces (hasKey $r "namespaces")) }}
    namespaces: {{ toJson . }}
    {{- end }}
    {{- with (ternary $r.labelSelector $.Values.labelSelector (hasKey $r "labelSelector")) }}
    labelSelector: {{ . | quote }}
    {{- end }}
    {{- with (ternary $r.fieldSelector $.Values.fieldSelector (hasKey $r "fieldSelector")) }}
    fieldSelector: {{ . | quote }}
    {{- end }}
{{- end }}
{{- end }}

{{/* Where a step listens, as KW_HANDLERS takes it. */}}
{{- define "kwatchman.handlers" -}}
{{- $urls := list }}
{{- range $step := .Values.chain }}
{{- if contains "://" $step }}{{ $urls = append $urls $step }}
{{- else }}
{{- $scheme := ternary "https" "http" (eq (include "kwatchman.servesTLS" (list $ $step)) "true") }}
{{- $at := printf "localhost:%s" (include "kwatchman.port" (list $ $step)) }}
{{- if eq $.Values.mode "services" }}{{ $at = printf "%s-%s:8080" (include "kwatchman.fullname" $) $step }}{{ end }}
{{- $urls = append $urls (printf "%s://%s" $scheme $at) }}
{{- end }}
{{- end }}
{{- join "," $urls | replace "$" "$$" }}
{{- end }}

{{/* The variables of the watcher. */}}
{{- define "kwatchman.watcherEnv" -}}
{{- if include "kwatchman.scoped" . }}
- name: KW_CONFIG_FILE
  value: /etc/kwatchman/config.yaml
{{- else }}
- name: KW_RESOURCES
  value: {{ join "," .Values.resources | quote }}
{{- with .Values.namespaces }}
- name: KW_NAMESPACE
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.labelSelector }}
- name: KW_LABEL_SELECTOR
  value: {{ include "kwatchman.value" . | quote }}
{{- end }}
{{- with .Values.fieldSelector }}
- name: KW_FIELD_SELECTOR
  value: {{ include "kwatchman.value" . | quote }}
{{- end }}
{{- end }}
{{- with .Values.excludeNamespaces }}
- name: KW_EXCLUDE_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.clusterName }}
- name: KW_CLUSTER_NAME
  value: {{ include "kwatchman.value" . | quote }}
{{- end }}
{{- if ne .Values.mode "knative" }}
- name: KW_HANDLERS
  value: {{ include "kwatchman.handlers" . | quote }}
{{- end }}
{{- if ne .Values.state.type "none" }}
- name: KW_STATE_DIR
  value: /var/lib/kwatchman
{{- end }}
{{- if .Values.lease.enabled }}
- name: KW_LEASE
  value: {{ printf "%s/%s" .Release.Namespace (include "kwatchman.fullname" .) | quote }}
- name: KW_LEASE_DURATION
  value: {{ .Values.lease.duration | quote }}
# A container that is started anew goes on at once under the name of its Pod.
- name: KW_LEASE_IDENTITY
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
{{- else if gt (int .Values.replicas) 1 }}
{{- fail "replicas: more than one watcher need lease.enabled, or each change is told by each of them" }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (eq .Values.state.type "volume") }}
{{- fail "replicas: only one watcher can have the volume; set state.type to emptyDir, the Lease has what the next one needs" }}
{{- end }}
- name: KW_METRICS_ADDR
  value: ":{{ .Values.metrics.port }}"
{{- include "kwatchman.signingEnv" (list . "KW_SIGNING_KEY") }}
{{- include "kwatchman.hopEnv" (list . "watcher") }}
{{- include "kwatchman.tracingEnv" . }}
{{- include "kwatchman.env" (list "KW" .Values.watcher.settings .Values.watcher.secrets "watcher") }}
{{- with .Values.watcher.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The mounts of the watcher. The token goes to its container alone: functions cannot read the API. */}}
{{- define "kwatchman.watcherMounts" -}}
- name: api-access
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- if ne .Values.state.type "none" }}
- name: state
  mountPath: /var/lib/kwatchman
{{- end }}
{{- if include "kwatchman.scoped" . }}
- name: config
  mountPath: /etc/kwatchman
  readOnly: true
{{- end }}
{{- include "kwatchman.hopMounts" (list . "watcher") }}
{{- with .Values.watcher.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "kwatchman.apiAccess" -}}
- name: api-access
  projected:
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
      - downwardAPI:
          items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]
{{- if include "kwatchman.scoped" . }}
- name: config
  configMap: {name: {{ include "kwatchman.fullname" . | quote }}}
{{- end }}
{{- include "kwatchman.hopVolumes" (list . "watcher") }}
{{- end }}

{{- define "kwatchman.watcherVolumes" -}}
{{- if and .Values.state.existingClaim (ne .Values.state.type "volume") }}{{ fail "state.existingClaim: it is used with state.type=volume" }}{{ end -}}
{{ include "kwatchman.apiAccess" . }}
{{- if eq .Values.state.type "emptyDir" }}
- name: state
  emptyDir: {sizeLimit: {{ .Values.state.size }}}
{{- else if eq .Values.state.type "volume" }}
- name: state
  persistentVolumeClaim: {claimName: {{ .Values.state.existingClaim | default (include "kwatchman.fullname" .) | quote }}}
{{- end }}
{{- with .Values.watcher.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
