{{/* Names, labels and what else stands in every object. */}}

{{- define "minchat-bridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 52 characters: a StatefulSet's name with a revision's hash has to fit in a label. */}}
{{- define "minchat-bridge.fullname" -}}
{{- $name := include "minchat-bridge.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "minchat-bridge.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* What a selector says, which no upgrade may change. */}}
{{- define "minchat-bridge.selectorLabels" -}}
app.kubernetes.io/name: {{ include "minchat-bridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "minchat-bridge.labels" -}}
{{- $own := dict
      "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
      "app.kubernetes.io/version" .Chart.AppVersion
      "app.kubernetes.io/managed-by" .Release.Service
      "app.kubernetes.io/part-of" "minchat-bridge" -}}
{{- $selector := include "minchat-bridge.selectorLabels" . | fromYaml -}}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.commonLabels) $selector) -}}
{{- end -}}

{{/* The metadata of an object. Takes root, and: suffix, component, labels, annotations, namespace. */}}
{{- define "minchat-bridge.metadata" -}}
{{- $root := .root -}}
{{- $labels := include "minchat-bridge.labels" $root | fromYaml -}}
{{- if .component }}{{ $_ := set $labels "app.kubernetes.io/component" .component }}{{ end -}}
{{- $labels = mergeOverwrite (deepCopy (default dict .labels)) $labels -}}
{{- $annotations := mergeOverwrite (deepCopy $root.Values.commonAnnotations) (deepCopy (default dict .annotations)) -}}
name: {{ include "minchat-bridge.fullname" $root }}{{ .suffix }}
namespace: {{ default (include "minchat-bridge.namespace" $root) .namespace }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "minchat-bridge.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "minchat-bridge.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The image without its version. */}}
{{- define "minchat-bridge.imageName" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry -}}
{{- if $registry }}{{ trimSuffix "/" $registry }}/{{ end }}{{ .Values.image.repository -}}
{{- end -}}

{{- define "minchat-bridge.image" -}}
{{- $name := include "minchat-bridge.imageName" . -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "minchat-bridge.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat .Values.imagePullSecrets .Values.global.imagePullSecrets -}}
{{- $names = append $names (ternary (dict "name" .) . (kindIs "string" .)) -}}
{{- end -}}
{{- with $names | uniq -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}
