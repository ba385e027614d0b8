{{/* The image of every container. */}}
{{- define "meta-cni.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The folders of the node: of the values, or else of the layout. YAML. */}}
{{- define "meta-cni.paths" -}}
{{- $layouts := .Files.Get "layouts.yaml" | fromYaml -}}
{{- $layout := get $layouts .Values.layout -}}
{{- $paths := dict -}}
{{- range $key, $path := $layout -}}
{{- $_ := set $paths $key (get $.Values.paths $key | default $path) -}}
{{- end -}}
{{- if and .Values.paths.confDir (not .Values.paths.primaryDir) (eq $layout.primaryDir $layout.confDir) -}}
{{- $_ := set $paths "primaryDir" $paths.confDir -}}
{{- end -}}
{{ toYaml $paths }}
{{- end -}}

{{/* The flags of `meta-cni install` and `uninstall` that say where things are. */}}
{{- define "meta-cni.folders" -}}
{{- $paths := include "meta-cni.paths" . | fromYaml -}}
- --root=/host
- --conf-dir={{ $paths.confDir }}
- --bin-dir={{ $paths.binDir }}
- --primary-dir={{ $paths.primaryDir }}
- --kubelet-dir={{ $paths.kubeletDir }}
{{- end -}}

{{/* The flags of `meta-cni install`. */}}
{{- define "meta-cni.installFlags" -}}
{{ include "meta-cni.folders" . }}
{{- with .Values.install.primary }}
- --primary={{ . }}
{{- end }}
{{- with .Values.install.cniVersion }}
- --cni-version={{ . }}
{{- end }}
{{- if .Values.install.settings }}
- --settings=/etc/meta-cni/settings.yaml
{{- end }}
{{- end -}}

{{/* Where the installer sees the node's folders. */}}
{{- define "meta-cni.installMounts" -}}
{{- $paths := include "meta-cni.paths" . | fromYaml -}}
- {name: conf-dir, mountPath: {{ printf "/host%s" $paths.confDir }}}
- {name: bin-dir, mountPath: {{ printf "/host%s" $paths.binDir }}}
{{- if ne $paths.primaryDir $paths.confDir }}
- {name: primary-dir, mountPath: {{ printf "/host%s" $paths.primaryDir }}, readOnly: true}
{{- end }}
- {name: run, mountPath: /host/run/meta-cni, readOnly: true}
- {name: state, mountPath: /host/var/lib/meta-cni, readOnly: true}
{{- end -}}

{{/* Where agents lease: an address and where its authority is; empty without leases. */}}
{{- define "meta-cni.ipamAddress" -}}
{{- if .Values.ipamServer.enabled -}}
https://ipam-server.{{ .Release.Namespace }}.svc:7443
{{- else -}}
{{ .Values.ipamServer.external.address }}
{{- end -}}
{{- end -}}

{{/* What every container has. */}}
{{- define "meta-cni.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
privileged: false
readOnlyRootFilesystem: true
{{- end -}}

{{/* The projection of a token that is bound to its pod. The argument is the mode of the file. */}}
{{- define "meta-cni.tokenVolume" -}}
# Bound to this pod and its node, renewed by the kubelet. With a lifetime of its own it is not extended to a year.
- name: token
  projected:
    defaultMode: {{ . }}
    sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3600}
    - configMap:
        name: kube-root-ca.crt
        items: [{key: ca.crt, path: ca.crt}]
    - downwardAPI:
        items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
{{- end -}}
