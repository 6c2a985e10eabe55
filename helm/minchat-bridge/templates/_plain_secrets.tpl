{{/* Secrets that would stand in an object for all to read who may see it: in the ConfigMap, or in the pod's specification. Each is told by
its name, and never shown. */}}

{{- define "minchat-bridge.problems.inline" -}}
{{- range (include "minchat-bridge.inlineSecrets" (dict "value" .config "path" "config") | fromYamlArray) -}}
{{- include "minchat-bridge.problem" (printf "%s is a secret, and would stand in a ConfigMap. Put it into a Secret: secrets.tokens, secrets.kafka and secrets.amqp name the usual ones, secrets.extra mounts any other for a setting that ends with _file." .) -}}
{{- end -}}
{{- end -}}

{{/* Names of sources are names, whatever they say. */}}
{{- define "minchat-bridge.inlineSecrets" -}}
{{- $path := .path -}}
{{- $secret := "(?i)(^|[._-])(password|passwd|passphrase|tokens?|secrets?|credentials?|(private|api|access)[._-]?key|key[.]pem)$" -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value -}}
{{- if and $value (regexMatch $secret $key) (not (and (kindIs "map" $value) (eq $path "config.sources"))) }}
- {{ printf "%s.%s" $path $key | quote }}
{{- else -}}
{{- include "minchat-bridge.inlineSecrets" (dict "value" $value "path" (printf "%s.%s" $path $key)) -}}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $index, $value := .value -}}
{{- include "minchat-bridge.inlineSecrets" (dict "value" $value "path" (printf "%s[%d]" $path $index)) -}}
{{- end -}}
{{- else if kindIs "string" .value -}}
{{- with include "minchat-bridge.holdsSecret" .value }}
- {{ printf "The %s in %s" . $path | quote }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "minchat-bridge.problems.variables" -}}
{{- $values := .root.Values -}}
{{- $variables := dict "extraEnv" $values.extraEnv -}}
{{- range $part := list "initContainers" "extraContainers" -}}
{{- range $index, $container := get $values $part -}}
{{- $_ := set $variables (printf "%s[%d].env" $part $index) (default list $container.env) -}}
{{- end -}}
{{- end -}}
{{- range $path, $given := $variables -}}
{{- range $name, $value := (include "minchat-bridge.plainVariables" (list $.root $given) | fromYaml) -}}
{{- with include "minchat-bridge.plainSecret" (list $name $value) -}}
{{- $file := ternary (printf ", or mount it by secrets.extra and name its file in %s_FILE" $name) "" (hasPrefix "MINCHAT_BRIDGE__" (upper $name)) -}}
{{- include "minchat-bridge.problem" (printf "%s sets %s by a plain value, which is a secret or holds one, and would stand in the pod's specification. Take it from a Secret by valueFrom.secretKeyRef%s." $path $name $file) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "minchat-bridge.problems.arguments" -}}
{{- $variables := include "minchat-bridge.plainVariables" (list .root .root.Values.extraEnv) | fromYaml -}}
{{- range $argument := .root.Values.extraArgs -}}
{{- $name := first (splitList "=" (trimPrefix "--set=" $argument)) -}}
{{- $value := trimPrefix "--set=" $argument | trimPrefix $name | trimPrefix "=" -}}
{{- $value = include "minchat-bridge.expanded" (list $value $variables) -}}
{{- with include "minchat-bridge.plainSecret" (list $name $value) -}}
{{- include "minchat-bridge.problem" (printf "extraArgs sets %s by a plain value, which is a secret or holds one, and would stand in the pod's specification. Put it into a Secret: secrets.tokens, secrets.kafka and secrets.amqp name the usual ones, secrets.extra mounts any other for a setting that ends with _file." $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Variables with values, templates done, and $(NAME) filled in where NAME has a value too. */}}
{{- define "minchat-bridge.plainVariables" -}}
{{- $found := dict -}}
{{- range $variable := (tpl (toYaml (index . 1)) (index . 0) | fromYamlArray) -}}
{{- if and (kindIs "map" $variable) (hasKey $variable "name") (hasKey $variable "value") (not (kindIs "invalid" $variable.value)) -}}
{{- $_ := set $found $variable.name (include "minchat-bridge.expanded" (list (toString $variable.value) $found)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{- define "minchat-bridge.expanded" -}}
{{- $text := index . 0 -}}
{{- range $name, $value := index . 1 }}{{ $text = replace (printf "$(%s)" $name) $value $text }}{{ end -}}
{{- $text -}}
{{- end -}}

{{/* Whether this value, of a variable or setting of this name, is a secret or holds one. $(NAME) is a reference to a Secret by now. */}}
{{- define "minchat-bridge.plainSecret" -}}
{{- $value := regexReplaceAll "\\$\\([-._a-zA-Z0-9]+\\)" (index . 1) "" -}}
{{- $is := and (include "minchat-bridge.namesSecret" (index . 0)) (trim $value) (not (regexMatch "(?i)^(true|false|yes|no|on|off)$" $value)) -}}
{{- if or $is (include "minchat-bridge.holdsSecret" $value) }}yes{{ end -}}
{{- end -}}

{{/* Whether a name says that its value is a secret. One that ends with FILE, NAME or the like says where a secret is, or something of it. */}}
{{- define "minchat-bridge.namesSecret" -}}
{{- $name := upper . -}}
{{- $about := "(FILE|PATH|DIR|DIRECTORY|LOCATION|ENDPOINT|URL|URI|HOST|PORT|NAME|USER|TYPE|TTL|TIMEOUT|INTERVAL|EXPIRY|LENGTH|SIZE|ALGORITHM|HEADER|PREFIX|ISSUER|AUDIENCE|SCOPE|MECHANISM|PROVIDER|VERSION|ENABLED)S?" -}}
{{- $others := "^(OLD)?PWD$|^GOOGLE_APPLICATION_CREDENTIALS$|(KEY|TOKEN)[_.-]ID$|(PUBLIC|ROUTING|PARTITION|ORDERING)[_.-]KEYS?$" -}}
{{- $words := "PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|AUTHORIZATION|TOKENS?([_.-]|[0-9]*$)|(PRIVATE|API|ACCESS|SIGNING|ENCRYPTION)KEY|(^|[_.-])(PASS|PWD|JAAS|COOKIE)([_.-]|[0-9]*$)|(^|[_.-])(KEYS?[0-9]*|KEY[_.-]PEM)$" -}}
{{- if and (regexMatch $words $name) (not (regexMatch (printf "[_.-]%s$|%s" $about $others) $name)) }}yes{{ end -}}
{{- end -}}

{{/* What secret a text has in it, whatever its name: a password before the host of a URI, a parameter, a private key. */}}
{{- define "minchat-bridge.holdsSecret" -}}
{{- if regexMatch "://[^/@:\\s]*:[^/@\\s]+@" . -}}
password
{{- else if regexMatch "(?i)(^|[?&;,\\s])[a-z_.-]*(password|passwd|pwd|token|secret|api_?key)\\s*=\\s*[\"']?[^\"'&;,\\s]" . -}}
parameter
{{- else if regexMatch "-----BEGIN [A-Z ]*PRIVATE KEY-----" . -}}
private key
{{- else if regexMatch "(^|[^a-zA-Z0-9])whsec_[a-zA-Z0-9+/]|(?i:^(bearer|basic) +[^ ])" . -}}
credential
{{- end -}}
{{- end -}}
