{{/*
The rules as {namespace: {group: [plural]}}, of the ClusterRole under "*"; "+" holds whole rules. What a resource's group is
stands in files/resources.yaml, for a chart cannot ask the API server when it is rendered without one.
*/}}
{{- define "kwatchman.rules" -}}
{{- $rules := dict }}
{{- range .Values.resources }}
{{- $entry := ternary . (dict "kind" .) (kindIs "map" .) }}
{{- $r := include "kwatchman.resource" (list $ $entry.kind) | fromYaml }}
{{- $namespaces := ternary $entry.namespaces $.Values.namespaces (hasKey $entry "namespaces") }}
{{- if or (not $namespaces) (not $r.namespaced) $entry.clusterScoped }}{{ $namespaces = list "*" }}{{ end }}
{{- range $namespaces }}
{{- if not (has . $.Values.excludeNamespaces) }}
{{- if not (hasKey $rules .) }}{{ $_ := set $rules . dict }}{{ end }}
{{- $of := index $rules . }}
{{- $_ := set $of $r.group (append (index $of $r.group | default list) $r.plural) }}
{{- end }}
{{- end }}
{{- end }}
{{- $extra := .Values.rbac.extraRules }}
{{- if not .Values.clusterName }}
{{- $extra = append $extra (dict "apiGroups" (list "") "resources" (list "namespaces") "resourceNames" (list "kube-system") "verbs" (list "get")) }}
{{- end }}
{{- with $extra }}
{{- if not (hasKey $rules "*") }}{{ $_ := set $rules "*" dict }}{{ end }}
{{- $_ := set (index $rules "*") "+" . }}
{{- end }}
{{- toYaml $rules }}
{{- end }}

{{/* {group, plural, namespaced} of a resource by any of its names: (list $ name). */}}
{{- define "kwatchman.resource" -}}
{{- $root := index . 0 }}{{ $name := index . 1 | lower }}
{{- $head := regexFind "^[^.]*" $name }}
{{- $group := trimPrefix $head $name | trimPrefix "." }}
{{- $version := regexFind "^v[0-9]+((alpha|beta)[0-9]+)?(\\.|$)" $group }}
{{- $group = trimPrefix $version $group }}
{{- $found := dict }}
{{- if eq $name "*" }}{{ $found = dict "group" "*" "plural" "*" "namespaced" true }}{{ end }}
{{- range $g, $resources := $root.Files.Get "files/resources.yaml" | fromYaml }}
{{- range $resources }}
{{- if and (not $found) (or (eq $group "") (eq $group $g)) (has $head .names) }}
{{- $found = dict "group" (ternary "" $g (eq $g "core")) "plural" (first .names) "namespaced" (not .cluster) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (not $found) (eq $group "") }}
{{- fail (printf "resources: %q is no resource of Kubernetes' own; name a custom resource as plural.group, such as crontabs.stable.example.com" (index . 1)) }}
{{- end }}
{{- if and (not $found) (ne (index . 1) $name) }}
{{- fail (printf "resources: %q is no resource of Kubernetes' own; name a custom resource by its plural, in small letters: crontabs.stable.example.com" (index . 1)) }}
{{- end }}
{{- toYaml ($found | default (dict "group" $group "plural" $head "namespaced" true)) }}
{{- end }}
