{{/*
What all objects of a release are named after: the release, with the chart's name unless that is in it already.
Cut so that the longest suffix (-dataplane-admin) still fits a DNS label.
*/}}
{{- define "tidegate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else if contains "tidegate" .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-tidegate" .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of every object. Call with (dict "root" $ "component" "operator"). */}}
{{- define "tidegate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: tidegate
{{ include "tidegate.selectorLabels" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What selects the pods of a component; never changes over the life of a release. */}}
{{- define "tidegate.selectorLabels" -}}
app.kubernetes.io/name: tidegate
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* Labels of pods: without those that change with the chart, so that an upgrade restarts only what it changes. */}}
{{- define "tidegate.podLabels" -}}
app.kubernetes.io/part-of: tidegate
{{ include "tidegate.selectorLabels" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
An image: REGISTRY/REPOSITORY:TAG, and the digest, which then decides.
Call with (dict "root" $ "image" .Values.operator.image "tag" "default tag").
*/}}
{{- define "tidegate.image" -}}
{{- $registry := .image.registry | default .root.Values.image.registry -}}
{{- $tag := .image.tag | default .tag | default .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{- with $registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- .image.repository }}:{{ $tag }}
{{- with .image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{- define "tidegate.operator.serviceAccountName" -}}
{{- .Values.operator.serviceAccount.name | default (printf "%s-operator" (include "tidegate.fullname" .)) -}}
{{- end -}}

{{- define "tidegate.dataPlane.serviceAccountName" -}}
{{- .Values.dataPlane.serviceAccount.name | default (printf "%s-dataplane" (include "tidegate.fullname" .)) -}}
{{- end -}}

{{/* The headless Service through which the operator finds the data planes: its port is named `admin`. */}}
{{- define "tidegate.dataPlane.adminServiceName" -}}
{{- printf "%s-dataplane-admin" (include "tidegate.fullname" .) -}}
{{- end -}}

{{/* Whether the data planes have a shared store: an own one, or one of the release. */}}
{{- define "tidegate.store.used" -}}
{{- if or .Values.store.url .Values.store.urlFrom.secretName .Values.redis.embedded.enabled }}true{{ end -}}
{{- end -}}

{{/* The Secret with the data planes' password, if there is one. */}}
{{- define "tidegate.store.secretName" -}}
{{- if .Values.redis.embedded.enabled -}}
{{- .Values.redis.embedded.auth.existingSecret | default (include "tidegate.redis.name" .) -}}
{{- else -}}
{{- .Values.store.auth.existingSecret -}}
{{- end -}}
{{- end -}}

{{- define "tidegate.redis.name" -}}
{{- printf "%s-redis" (include "tidegate.fullname" .) -}}
{{- end -}}

{{/* Seconds in a time such as 30s, 500ms (rounded up) or 2m. */}}
{{- define "tidegate.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int -}}
{{- if hasSuffix "ms" . }}{{ div (add $number 999) 1000 }}
{{- else if hasSuffix "m" . }}{{ mul $number 60 }}
{{- else }}{{ $number }}{{ end -}}
{{- end -}}

{{/* Spread over zones and nodes, unless the values say otherwise. Call with root, component and constraints. */}}
{{- define "tidegate.topologySpreadConstraints" -}}
{{- if .constraints -}}
{{- toYaml .constraints -}}
{{- else -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "tidegate.selectorLabels" (dict "root" $.root "component" $.component) | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Node selector, tolerations, affinity, priority: whatever a component's values give. */}}
{{- define "tidegate.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* What contradicts itself ends the rendering, with what to change. */}}
{{- define "tidegate.check" -}}
{{- $store := .Values.store -}}
{{- if and .Values.redis.embedded.enabled (or $store.url $store.urlFrom.secretName) -}}
{{- fail "redis.embedded.enabled and store.url (or store.urlFrom) exclude each other: disable redis.embedded to use your own store" -}}
{{- end -}}
{{- if and $store.url $store.urlFrom.secretName -}}
{{- fail "give store.url or store.urlFrom, not both" -}}
{{- end -}}
{{- if contains "@" $store.url -}}
{{- fail "store.url must not hold a login: put the password into a Secret and name it in store.auth.existingSecret" -}}
{{- end -}}
{{- if and $store.auth.username (not $store.auth.existingSecret) -}}
{{- fail "store.auth.username needs store.auth.existingSecret, the Secret that holds the password" -}}
{{- end -}}
{{- $tls := .Values.dataPlane.tls -}}
{{- if and $tls.clientCa.secretName (not $tls.existingSecret) -}}
{{- fail "dataPlane.tls.clientCa needs dataPlane.tls.existingSecret: client certificates are read only where callers are served TLS" -}}
{{- end -}}
{{- if and $tls.clientCrl.secretName (not $tls.clientCa.secretName) -}}
{{- fail "dataPlane.tls.clientCrl needs dataPlane.tls.clientCa" -}}
{{- end -}}
{{- if and (not .Values.dataPlane.snapshot.api) (not .Values.dataPlane.snapshot.mounted) -}}
{{- fail "dataPlane.snapshot.api and dataPlane.snapshot.mounted are both false: a data plane needs one of them" -}}
{{- end -}}
{{- $audit := .Values.dataPlane.audit -}}
{{- if and (not $audit.file) (or $audit.keySecret.name (eq $audit.whenFull "deny")) -}}
{{- fail "dataPlane.audit.keySecret and dataPlane.audit.whenFull=deny need dataPlane.audit.file" -}}
{{- end -}}
{{- if and .Values.dataPlane.trustedProxies.clientCertificateHeader (not .Values.dataPlane.trustedProxies.cidrs) -}}
{{- fail "dataPlane.trustedProxies.clientCertificateHeader needs dataPlane.trustedProxies.cidrs" -}}
{{- end -}}
{{- $drain := .Values.dataPlane.drain -}}
{{- $needed := add (include "tidegate.seconds" $drain.delay) (include "tidegate.seconds" $drain.grace) $drain.preStopSeconds 5 | int -}}
{{- with .Values.dataPlane.terminationGracePeriodSeconds -}}
{{- if lt (int .) $needed -}}
{{- fail (printf "dataPlane.terminationGracePeriodSeconds is %d, but preStopSeconds, drain.delay and drain.grace need %d: calls would be cut off" (int .) $needed) -}}
{{- end -}}
{{- end -}}
{{- end -}}
