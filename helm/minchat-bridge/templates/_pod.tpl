{{/* The pod, the same in the StatefulSet and in the Deployment. The chart's version is not among its labels: a new chart that changes
nothing of the pod restarts none. */}}

{{- define "minchat-bridge.podTemplate" -}}
{{- $labels := include "minchat-bridge.selectorLabels" . | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/component" "bridge" -}}
{{- $_ := set $labels "app.kubernetes.io/version" .Chart.AppVersion -}}
metadata:
  labels:
    {{- toYaml (mergeOverwrite (deepCopy .Values.commonLabels) (deepCopy .Values.podLabels) $labels) | nindent 4 }}
  annotations:
    checksum/config: {{ include "minchat-bridge.config" . | sha256sum }}
    {{- with mergeOverwrite (deepCopy .Values.commonAnnotations) (deepCopy .Values.podAnnotations) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- with include "minchat-bridge.imagePullSecrets" . }}
  {{- . | nindent 2 }}
  {{- end }}
  serviceAccountName: {{ include "minchat-bridge.serviceAccountName" . }}
  automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ int .Values.terminationGracePeriodSeconds }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers:
    {{- tpl (toYaml .) $ | nindent 4 }}
  {{- end }}
  containers:
    - name: minchat-bridge
      image: {{ include "minchat-bridge.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - serve
        - --config
        - /etc/minchat-bridge/config/bridge.yaml
        {{- with .Values.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- $env := include "minchat-bridge.env" . | fromYamlArray }}
      {{- with concat $env .Values.extraEnv }}
      env:
        {{- tpl (toYaml .) $ | nindent 8 }}
      {{- end }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- tpl (toYaml .) $ | nindent 8 }}
      {{- end }}
      ports:
        - name: http
          containerPort: {{ include "minchat-bridge.httpPort" . }}
          protocol: TCP
        - name: admin
          containerPort: {{ include "minchat-bridge.adminPort" . }}
          protocol: TCP
      {{- range $probe := list "startupProbe" "livenessProbe" "readinessProbe" }}
      {{- with get $.Values $probe }}
      {{ $probe }}:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      {{- with .Values.lifecycle }}
      lifecycle:
        {{- tpl (toYaml .) $ | nindent 8 }}
      {{- end }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: config
          mountPath: /etc/minchat-bridge/config
          readOnly: true
        {{- if include "minchat-bridge.secretSources" . | fromYamlArray }}
        - name: secrets
          mountPath: {{ include "minchat-bridge.secretsDir" . }}
          readOnly: true
        {{- end }}
        {{- if include "minchat-bridge.spool" . }}
        - name: data
          mountPath: {{ include "minchat-bridge.dataDir" . }}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- tpl (toYaml .) $ | nindent 8 }}
        {{- end }}
    {{- with .Values.extraContainers }}
    {{- tpl (toYaml .) $ | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "minchat-bridge.fullname" . }}
    {{- with include "minchat-bridge.secretSources" . | fromYamlArray }}
    - name: secrets
      projected:
        defaultMode: 0440
        sources:
          {{- toYaml . | nindent 10 }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- tpl (toYaml .) $ | nindent 4 }}
    {{- end }}
  {{- include "minchat-bridge.placement" . | trim | nindent 2 }}
{{- end -}}

{{/* Where pods run, and how they see the network: fields that are passed through, and the spread. */}}
{{- define "minchat-bridge.placement" -}}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" "schedulerName" "runtimeClassName" "hostAliases" "dnsPolicy" "dnsConfig" }}
{{- with get $.Values $field }}
{{ $field }}: {{ if kindIs "string" . }}{{ tpl . $ }}{{ else }}{{ tpl (toYaml .) $ | nindent 2 }}{{ end }}
{{- end }}
{{- end }}
{{- $spread := .Values.topologySpreadConstraints -}}
{{- if not (kindIs "invalid" $spread) }}
{{- if not $spread }}
{{- $spread = list
      (dict "topologyKey" "topology.kubernetes.io/zone" "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway")
      (dict "topologyKey" "kubernetes.io/hostname" "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway") -}}
{{- end }}
{{- $selector := dict "labelSelector" (dict "matchLabels" (include "minchat-bridge.selectorLabels" . | fromYaml)) }}
topologySpreadConstraints:
{{- range $spread }}
  - {{- toYaml (merge (deepCopy .) $selector) | nindent 4 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Names of users and hosts that are in Secrets. Passwords are mounted as files. */}}
{{- define "minchat-bridge.env" -}}
{{- $kafka := .Values.secrets.kafka.login -}}
{{- $amqp := .Values.secrets.amqp.login -}}
{{- if and $kafka.existingSecret $kafka.usernameKey }}
- name: MINCHAT_BRIDGE__KAFKA__SASL__USERNAME
  {{- include "minchat-bridge.fromSecret" (list $kafka.existingSecret $kafka.usernameKey) | nindent 2 }}
{{- end }}
{{- with include "minchat-bridge.amqpUri" . }}
- name: RABBITMQ_USERNAME
  {{- include "minchat-bridge.fromSecret" (list $amqp.existingSecret $amqp.usernameKey) | nindent 2 }}
{{- if contains "RABBITMQ_HOST" . }}
- name: RABBITMQ_HOST
  {{- include "minchat-bridge.fromSecret" (list $amqp.existingSecret $amqp.hostKey) | nindent 2 }}
- name: RABBITMQ_PORT
  {{- include "minchat-bridge.fromSecret" (list $amqp.existingSecret $amqp.portKey) | nindent 2 }}
{{- end }}
- name: MINCHAT_BRIDGE__AMQP__URI
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "minchat-bridge.fromSecret" -}}
valueFrom:
  secretKeyRef:
    name: {{ index . 0 }}
    key: {{ index . 1 }}
{{- end -}}

{{/* What of which Secret is mounted where under the secrets' directory. */}}
{{- define "minchat-bridge.secretSources" -}}
{{- $s := .Values.secrets -}}
{{- range $name, $of := (include "minchat-bridge.tokenSecrets" . | fromYaml) }}
- {{ include "minchat-bridge.secretItems" (list $of.secret (dict (printf "tokens/%s" $name) $of.key)) | nindent 2 }}
{{- end }}
{{- range $broker := list "kafka" "amqp" }}
{{- $of := get $s $broker }}
{{- with $of.login }}{{ if .existingSecret }}
- {{ include "minchat-bridge.secretItems" (list .existingSecret (dict (printf "%s/password" $broker) .passwordKey)) | nindent 2 }}
{{- end }}{{ end }}
{{- with $of.certificate }}{{ if .existingSecret }}
- {{ include "minchat-bridge.secretItems" (list .existingSecret (dict (printf "%s/tls.crt" $broker) .certKey (printf "%s/tls.key" $broker) .keyKey)) | nindent 2 }}
{{- end }}{{ end }}
{{- with $of.ca }}{{ if .existingSecret }}
- {{ include "minchat-bridge.secretItems" (list .existingSecret (dict (printf "%s/ca.crt" $broker) .key)) | nindent 2 }}
{{- end }}{{ end }}
{{- end }}
{{- range $extra := $s.extra }}
{{- $items := dict }}
{{- range default list $extra.keys }}{{ $_ := set $items (printf "%s/%s" $extra.name .) . }}{{ end }}
{{- if $items }}
- {{ include "minchat-bridge.secretItems" (list $extra.existingSecret $items) | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "minchat-bridge.secretItems" -}}
secret:
  name: {{ index . 0 }}
  items:
    {{- range $path, $key := index . 1 }}
    - key: {{ $key }}
      path: {{ $path }}
    {{- end }}
{{- end -}}
