{{/* The flags of a data plane, in the order of docs/reference/dataplane.md. */}}
{{- define "tidegate.dataPlane.args" -}}
{{- $plane := .Values.dataPlane -}}
- --gateway={{ .Values.gateway.name }}
- --namespace={{ .Release.Namespace }}
{{- if not $plane.snapshot.api }}
- --no-api
{{- end }}
{{- if $plane.snapshot.mounted }}
- --snapshot-dir=/etc/tidegate/snapshot
- --credentials-dir=/etc/tidegate/credentials
{{- end }}
- --listen={{ .Values.listenHost }}:{{ $plane.port }}
- --admin-listen={{ .Values.listenHost }}:{{ $plane.adminPort }}
{{- with $plane.maxBodyBytes }}
- --max-body-bytes={{ int64 . }}
{{- end }}
- --drain-delay={{ $plane.drain.delay }}
- --grace={{ $plane.drain.grace }}
{{- include "tidegate.dataPlane.callerArgs" . }}
{{- include "tidegate.dataPlane.storeArgs" . }}
{{- with $plane.pressure.queueWait }}
- --queue-wait={{ . }}
{{- end }}
{{- with $plane.pressure.backendQueue }}
- --backend-queue={{ int64 . }}
{{- end }}
{{- with $plane.pressure.callsPerTurn }}
- --calls-per-turn={{ int64 . }}
{{- end }}
- --log-level={{ $plane.logLevel }}
{{- include "tidegate.dataPlane.auditArgs" . }}
{{- range $plane.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* TLS, trusted proxies, failed authentications. */}}
{{- define "tidegate.dataPlane.callerArgs" -}}
{{- $plane := .Values.dataPlane -}}
{{- with $plane.tls }}
{{- if .existingSecret }}
- --tls-dir=/etc/tidegate/tls
{{- end }}
{{- if .clientCa.secretName }}
- --client-ca=/etc/tidegate/client-ca/{{ .clientCa.key }}
- --client-certificates={{ .clientCertificates }}
{{- end }}
{{- if .clientCrl.secretName }}
- --client-crl=/etc/tidegate/client-crl/{{ .clientCrl.key }}
{{- if .clientCrl.required }}
- --client-crl-required
{{- end }}
{{- end }}
{{- end }}
{{- with $plane.trustedProxies }}
{{- range .cidrs }}
- --trusted-proxy={{ . }}
{{- end }}
{{- if .cidrs }}
- --trusted-proxy-depth={{ int64 .depth }}
- --trusted-proxy-header={{ .header }}
{{- end }}
{{- if .clientCertificateHeader }}
- --trust-client-certificate-header
{{- end }}
{{- end }}
{{- with $plane.authFailures.perAddress }}
- --auth-failures-per-address={{ . }}
{{- end }}
{{- with $plane.authFailures.perPrefix }}
- --auth-failures-per-prefix={{ . }}
{{- end }}
{{- end -}}

{{/* The shared store. Its address comes by the environment when it stands in a Secret. */}}
{{- define "tidegate.dataPlane.storeArgs" -}}
{{- if include "tidegate.store.used" . }}
{{- $store := .Values.store }}
{{- if .Values.redis.embedded.enabled }}
- --store=redis://{{ include "tidegate.redis.name" . }}:6379
- --store-username=tidegate
{{- else }}
- --store={{ $store.url | default "$(TIDEGATE_STORE_URL)" }}
{{- with $store.auth.username }}
- --store-username={{ . }}
{{- end }}
{{- end }}
{{- if include "tidegate.store.secretName" . }}
- --store-password-file=/etc/tidegate/store/password
{{- end }}
{{- if $store.tls.secretName }}
{{- with $store.tls.caKey }}
- --store-ca-file=/etc/tidegate/store-tls/{{ . }}
{{- end }}
{{- with $store.tls.certificateKey }}
- --store-certificate=/etc/tidegate/store-tls/{{ . }}
{{- end }}
{{- with $store.tls.keyKey }}
- --store-key=/etc/tidegate/store-tls/{{ . }}
{{- end }}
{{- end }}
{{- with $store.deadline }}
- --store-deadline={{ . }}
{{- end }}
- --journal=/var/lib/tidegate/usage.journal
{{- with $store.replicas }}
- --replicas={{ int64 . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tidegate.dataPlane.auditArgs" -}}
{{- with .Values.dataPlane.audit }}
{{- if .file }}
- --audit-file={{ .file }}
{{- if .keySecret.name }}
- --audit-key-file=/etc/tidegate/audit-key/{{ .keySecret.key }}
{{- end }}
{{- with .maxBytes }}
- --audit-max-bytes={{ int64 . }}
{{- end }}
{{- with .maxFiles }}
- --audit-max-files={{ int64 . }}
{{- end }}
{{- if .fsync }}
- --audit-fsync
{{- end }}
- --audit-when-full={{ .whenFull }}
{{- end }}
{{- end }}
{{- end -}}
