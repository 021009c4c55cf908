{{- define "auditsplit.name" -}}
{{ ternary .Release.Name (printf "%s-auditsplit" .Release.Name) (contains "auditsplit" .Release.Name) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "auditsplit.selector" -}}
app.kubernetes.io/name: auditsplit
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "auditsplit.labels" -}}
{{ include "auditsplit.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "auditsplit.port" -}}
{{ ternary "https" "http" (eq .Values.mode "metrics") }}
{{- end }}

{{- define "auditsplit.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* Returns "true" where the pods follow AuditSinks of the cluster. Fails where auditSinks and settings differ. */}}
{{- define "auditsplit.auditSinks" -}}
{{- $enabled := dig "enabled" false (.Values.auditSinks | default dict) -}}
{{- $named := regexMatch "(?i)(^|\\s)auditsink[+]kubernetes:" (.Values.settings.AUDIT_SINKS | default "") -}}
{{- if eq .Values.mode "metrics" -}}
{{- if $enabled -}}
{{- fail "auditSinks.enabled: must be false in mode metrics, which receives no audit events" -}}
{{- end -}}
{{- else if and $enabled (not $named) -}}
{{- fail "auditSinks.enabled: settings.AUDIT_SINKS names no AuditSinks of the cluster. Add ' auditsink+kubernetes:' to it, or set auditSinks.enabled to false" -}}
{{- else if and $enabled .Values.settings.KUBECONFIG -}}
{{- fail "auditSinks.enabled: must be false with settings.KUBECONFIG, because the pods would use their own service account instead of that file" -}}
{{- else if and $named (not $enabled) (not .Values.settings.KUBECONFIG) -}}
{{- fail "auditSinks.enabled: must be true for 'auditsink+kubernetes:' in settings.AUDIT_SINKS, because the pods cannot list AuditSinks without it. For the AuditSinks of another cluster, set settings.KUBECONFIG" -}}
{{- else if $enabled -}}
true
{{- end -}}
{{- end }}

{{- /* The pod of both modes. A mode differs in its network, its nodes and whether the secret must exist. */}}
{{- define "auditsplit.pod" -}}
{{- $node := eq .Values.mode "node" -}}
metadata:
  labels:
    {{- include "auditsplit.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/settings: {{ toJson .Values.settings | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "auditsplit.name" . }}
  automountServiceAccountToken: {{ include "auditsplit.auditSinks" . | default "false" }}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $node }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  nodeSelector:
    {{- toYaml .Values.nodeSelector | nindent 4 }}
  tolerations:
    - operator: Exists # wherever an apiserver runs
  {{- else }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "auditsplit.selector" . | nindent 10 }}
  {{- end }}
  {{- with .Values.priorityClassName | default (ternary "system-node-critical" "" $node) }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: 40 # more than a request can take
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: auditsplit
      image: {{ include "auditsplit.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      env:
        - name: HOST
          value: {{ ternary "127.0.0.1" "0.0.0.0" $node }}
        - name: PORT
          value: {{ .Values.port | quote }}
        - name: WORKERS
          value: {{ .Values.workers | quote }}
        - name: THREADS
          value: {{ .Values.threads | quote }}
      envFrom:
        - configMapRef:
            name: {{ include "auditsplit.name" . }}
        - secretRef:
            name: {{ .Values.secretName }}
            optional: {{ $node }}
      ports:
        - name: http
          containerPort: {{ .Values.port }}
          {{- if $node }}
          hostPort: {{ .Values.port }}
          hostIP: 127.0.0.1
          {{- end }}
      {{- $host := ternary ", host: 127.0.0.1" "" $node }}
      startupProbe:
        httpGet: {path: /healthz, port: http{{ $host }}}
        periodSeconds: 1
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /healthz, port: http{{ $host }}}
        periodSeconds: 10
        timeoutSeconds: 5
      readinessProbe:
        httpGet: {path: /readyz, port: http{{ $host }}}
        periodSeconds: 30
        timeoutSeconds: 15 # it writes to the sink
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- with .Values.volumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir:
        medium: Memory
        sizeLimit: 64Mi
    {{- with .Values.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
