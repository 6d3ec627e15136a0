{{/* A volume of one Secret. Call with name and secret. Files are readable for the group of the pod (fsGroup) only. */}}
{{- define "tidegate.secretVolume" }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
{{- end }}

{{- define "tidegate.dataPlane.volumes" -}}
{{- $plane := .Values.dataPlane -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- if $plane.snapshot.mounted }}
# The published snapshot in one folder: its index and every shard there may be. The names are those of the role, so a
# data plane mounts what it may read. All are optional: what is not published yet, or not in use, holds back no pod.
- name: snapshot
  projected:
    sources:
    {{- range $name := include "tidegate.dataPlane.configMaps" . | fromJsonArray }}
    - configMap:
        name: {{ $name }}
        optional: true
    {{- end }}
- name: credentials
  secret:
    secretName: tidegate-{{ .Values.gateway.name }}-credentials
    optional: true
    defaultMode: 0440
{{- end }}
{{- if include "tidegate.store.used" . }}
# What this data plane has used of shared limits. It outlives the container; with the pod it goes, after the data plane
# has told the store everything.
- name: journal
  emptyDir:
    sizeLimit: {{ $plane.journal.sizeLimit }}
{{- with include "tidegate.store.secretName" . }}
- name: store
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items:
    - key: {{ $.Values.redis.embedded.enabled | ternary "password" $.Values.store.auth.passwordKey }}
      path: password
{{- end }}
{{- with .Values.store.tls.secretName }}
{{- include "tidegate.secretVolume" (dict "name" "store-tls" "secret" .) }}
{{- end }}
{{- end }}
{{- with $plane.tls.existingSecret }}
{{- include "tidegate.secretVolume" (dict "name" "tls" "secret" .) }}
{{- end }}
{{- with $plane.tls.clientCa.secretName }}
{{- include "tidegate.secretVolume" (dict "name" "client-ca" "secret" .) }}
{{- end }}
{{- with $plane.tls.clientCrl.secretName }}
{{- include "tidegate.secretVolume" (dict "name" "client-crl" "secret" .) }}
{{- end }}
{{- with $plane.audit.keySecret.name }}
{{- include "tidegate.secretVolume" (dict "name" "audit-key" "secret" .) }}
{{- end }}
{{- if and $plane.audit.file (ne $plane.audit.file "-") $plane.audit.volume }}
- name: audit
  {{- toYaml $plane.audit.volume | nindent 2 }}
{{- end }}
{{- with $plane.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tidegate.dataPlane.volumeMounts" -}}
{{- $plane := .Values.dataPlane -}}
- {name: tmp, mountPath: /tmp}
{{- if $plane.snapshot.mounted }}
- {name: snapshot, mountPath: /etc/tidegate/snapshot, readOnly: true}
- {name: credentials, mountPath: /etc/tidegate/credentials, readOnly: true}
{{- end }}
{{- if include "tidegate.store.used" . }}
- {name: journal, mountPath: /var/lib/tidegate}
{{- if include "tidegate.store.secretName" . }}
- {name: store, mountPath: /etc/tidegate/store, readOnly: true}
{{- end }}
{{- if .Values.store.tls.secretName }}
- {name: store-tls, mountPath: /etc/tidegate/store-tls, readOnly: true}
{{- end }}
{{- end }}
{{- if $plane.tls.existingSecret }}
- {name: tls, mountPath: /etc/tidegate/tls, readOnly: true}
{{- end }}
{{- if $plane.tls.clientCa.secretName }}
- {name: client-ca, mountPath: /etc/tidegate/client-ca, readOnly: true}
{{- end }}
{{- if $plane.tls.clientCrl.secretName }}
- {name: client-crl, mountPath: /etc/tidegate/client-crl, readOnly: true}
{{- end }}
{{- if $plane.audit.keySecret.name }}
- {name: audit-key, mountPath: /etc/tidegate/audit-key, readOnly: true}
{{- end }}
{{- if and $plane.audit.file (ne $plane.audit.file "-") $plane.audit.volume }}
- {name: audit, mountPath: {{ dir $plane.audit.file }}}
{{- end }}
{{- with $plane.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
The ConfigMaps of a snapshot, as JSON: those that rbac/dataplane.yaml lets a data plane read, without the index of a
staged roll-out, which has the same key as the one that all follow and would lie over it.
*/}}
{{- define "tidegate.dataPlane.configMaps" -}}
{{- $names := list -}}
{{- range $document := regexSplit "(?m)^---\\s*$" (.Files.Get "rbac/dataplane.yaml") -1 -}}
{{- range $rule := (fromYaml $document).rules -}}
{{- if has "configmaps" $rule.resources -}}
{{- range $name := $rule.resourceNames -}}
{{- if regexMatch "^tidegate-default(-l?[0-9]+)?$" $name -}}
{{- $names = append $names (regexReplaceAll "^tidegate-default" $name (printf "tidegate-%s" $.Values.gateway.name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}
