{{/* The bridge's configuration: what stands in `config`, with the files of `secrets` named in it where it doesn't name its own. */}}

{{- define "minchat-bridge.secretsDir" -}}/etc/minchat-bridge/secrets{{- end -}}
{{- define "minchat-bridge.dataDir" -}}/var/lib/minchat-bridge{{- end -}}

{{/* `config` without what is null, which is how values are taken back, and with the source that the bridge has by default. */}}
{{- define "minchat-bridge.given" -}}
{{- $given := include "minchat-bridge.withoutNulls" .Values.config | fromYaml -}}
{{- toYaml (set $given "sources" (default (dict "minchat" dict) $given.sources)) -}}
{{- end -}}

{{- define "minchat-bridge.withoutNulls" -}}
{{- $kept := dict -}}
{{- range $key, $value := . -}}
{{- if kindIs "map" $value -}}
{{- $_ := set $kept $key (include "minchat-bridge.withoutNulls" $value | fromYaml) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $_ := set $kept $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $kept -}}
{{- end -}}

{{- define "minchat-bridge.config" -}}
{{- $config := include "minchat-bridge.given" . | fromYaml -}}
{{- $secrets := .Values.secrets -}}
{{- $dir := include "minchat-bridge.secretsDir" . -}}
{{- range $name, $_ := (include "minchat-bridge.tokenSecrets" . | fromYaml) -}}
{{- $source := default dict (get $config.sources $name) -}}
{{- $_ := set $source "auth" (merge (default dict $source.auth) (dict "tokens_file" (printf "%s/tokens/%s" $dir $name))) -}}
{{- $_ := set $config.sources $name $source -}}
{{- end -}}
{{- range $broker := list "kafka" "amqp" -}}
{{- $of := get $secrets $broker -}}
{{- $own := dict -}}
{{- if $of.login.existingSecret -}}
{{- $login := dict "password_file" (printf "%s/%s/password" $dir $broker) -}}
{{- $own = ternary (dict "sasl" $login) $login (eq $broker "kafka") -}}
{{- end -}}
{{- $tls := dict -}}
{{- if $of.certificate.existingSecret -}}
{{- $_ := set $tls "cert_file" (printf "%s/%s/tls.crt" $dir $broker) -}}
{{- $_ := set $tls "key_file" (printf "%s/%s/tls.key" $dir $broker) -}}
{{- end -}}
{{- if $of.ca.existingSecret }}{{ $_ := set $tls "ca_file" (printf "%s/%s/ca.crt" $dir $broker) }}{{ end -}}
{{- if $tls }}{{ $_ := set $own "tls" $tls }}{{ end -}}
{{- if $own }}{{ $_ := set $config $broker (merge (default dict (get $config $broker)) $own) }}{{ end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Which source's tokens are in which Secret: those named in `secrets.tokens.sources`, and with `secrets.tokens.existingSecret` those
without credentials of another sort. A token is never added to a source that asks for a signature. */}}
{{- define "minchat-bridge.tokenSecrets" -}}
{{- $tokens := .Values.secrets.tokens -}}
{{- $found := dict -}}
{{- range $name, $source := (include "minchat-bridge.given" . | fromYaml).sources -}}
{{- $own := get $tokens.sources $name -}}
{{- $secret := $tokens.existingSecret -}}
{{- if $own }}{{ $secret = default $secret $own.existingSecret }}{{ end -}}
{{- $empty := not (default dict $source).auth -}}
{{- if and $secret (or $own $empty) -}}
{{- $_ := set $found $name (dict "secret" $secret "key" (default $tokens.key (default dict $own).key)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{/* Whether the user of the AMQP URI is in the Secret: `uri` to put it into, or nothing. */}}
{{- define "minchat-bridge.amqpUri" -}}
{{- $login := .Values.secrets.amqp.login -}}
{{- if and $login.existingSecret $login.usernameKey -}}
{{- $amqp := default dict (include "minchat-bridge.given" . | fromYaml).amqp -}}
{{- if not (or $amqp.uri $amqp.uris) -}}
amqp://$(RABBITMQ_USERNAME)@$(RABBITMQ_HOST):$(RABBITMQ_PORT)
{{- else if and $amqp.uri (not (contains "@" $amqp.uri)) -}}
{{- replace "://" "://$(RABBITMQ_USERNAME)@" $amqp.uri -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether events are kept on a volume. */}}
{{- define "minchat-bridge.spool" -}}
{{- $size := dig "spool" "max_size" "1GiB" (include "minchat-bridge.given" . | fromYaml) -}}
{{- if not (regexMatch "^0+([.]0+)? *([KMGT]iB)?$" (toString $size)) }}on{{ end -}}
{{- end -}}

{{/* The port of an address. */}}
{{- define "minchat-bridge.httpPort" -}}
{{- regexFind "[0-9]+$" (toString (dig "http" "listen" "127.0.0.1:8080" (include "minchat-bridge.given" . | fromYaml))) -}}
{{- end -}}
{{- define "minchat-bridge.adminPort" -}}
{{- regexFind "[0-9]+$" (toString (dig "admin" "listen" "127.0.0.1:8081" (include "minchat-bridge.given" . | fromYaml))) -}}
{{- end -}}

{{/* Whether the webhook listener speaks TLS. */}}
{{- define "minchat-bridge.tls" -}}
{{- if dig "http" "tls" "" (include "minchat-bridge.given" . | fromYaml) }}on{{ end -}}
{{- end -}}

{{/* Where the pod of `helm test` posts. */}}
{{- define "minchat-bridge.testUrl" -}}
{{- $scheme := include "minchat-bridge.tls" . | empty | ternary "http" "https" -}}
{{- $service := printf "%s://%s.%s:%d" $scheme (include "minchat-bridge.fullname" .) (include "minchat-bridge.namespace" .) (int .Values.service.port) -}}
{{- default $service .Values.tests.url | trimSuffix "/" -}}
{{- end -}}

{{/* The key of a Secret with the authority that it trusts; nothing where it trusts those of the image, or where there is no TLS. Of the
Secret that the bridge's own certificate is in, it is `ca.crt` if that is mounted too, else the certificate itself. */}}
{{- define "minchat-bridge.testAuthority" -}}
{{- $found := dict -}}
{{- $file := dig "http" "tls" "cert_file" "" (include "minchat-bridge.given" . | fromYaml) -}}
{{- if .Values.tests.ca.existingSecret -}}
{{- $found = dict "secret" .Values.tests.ca.existingSecret "key" .Values.tests.ca.key -}}
{{- else if and $file (not .Values.tests.url) -}}
{{- range $extra := .Values.secrets.extra -}}
{{- $key := trimPrefix (printf "%s/%s/" (include "minchat-bridge.secretsDir" $) $extra.name) $file -}}
{{- if has $key $extra.keys -}}
{{- $found = dict "secret" $extra.existingSecret "key" (ternary "ca.crt" $key (has "ca.crt" $extra.keys)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}
