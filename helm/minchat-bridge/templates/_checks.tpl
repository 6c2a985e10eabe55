{{/* What contradicts what in the values: a list of sentences that say what to do. What the bridge itself finds out at start, it says
there; here is what would only show as a pod that never runs, or as an event that is lost. */}}

{{- define "minchat-bridge.problems" -}}
{{- $config := include "minchat-bridge.given" . | fromYaml -}}
{{- $context := dict "root" . "config" $config -}}
{{- range $check := list "image" "destinations" "credentials" "inline" "variables" "arguments" "logins" "listeners" "scaling" "stop" "directories" "exposure" -}}
{{- include (printf "minchat-bridge.problems.%s" $check) $context -}}
{{- end -}}
{{- end -}}

{{- define "minchat-bridge.problem" }}
- {{ . | quote }}
{{- end -}}

{{/* A node pulls a name without a registry from Docker Hub, where anybody can have taken it. */}}
{{- define "minchat-bridge.problems.image" -}}
{{- $image := include "minchat-bridge.image" .root -}}
{{- $parts := splitList "/" (include "minchat-bridge.imageName" .root) -}}
{{- $host := first $parts -}}
{{- $path := "(/[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)+" -}}
{{- $name := printf "([a-zA-Z0-9-]+([.][a-zA-Z0-9-]+)*|\\[[0-9a-fA-F:]+\\])(:[0-9]+)?%s" $path -}}
{{- $version := "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?" -}}
{{- if or (lt (len $parts) 2) (not (or (contains "." $host) (contains ":" $host) (eq $host "localhost"))) -}}
{{- include "minchat-bridge.problem" (printf "The image %q names no registry, so that the nodes would pull it from Docker Hub, where the name can be somebody else's. Set image.registry to the registry that you pushed the image to, such as registry.example.com/team; it is docker.io/<your namespace> for Docker Hub." $image) -}}
{{- else if not (regexMatch (printf "^%s%s$" $name $version) $image) -}}
{{- include "minchat-bridge.problem" (printf "The image %q is no name of an image. Set image.registry to a host, with a port and a path if need be, without https:// and without spaces; image.repository to a name in lower case; and image.tag or image.digest to its version." $image) -}}
{{- else if and (regexMatch "^([a-z0-9-]+[.])*docker[.](io|com)(:[0-9]+)?$" (lower $host)) (or (eq (len $parts) 2) (eq (index $parts 1) "library")) -}}
{{- include "minchat-bridge.problem" (printf "The image %q is in the namespace of Docker's own images, to which you can't have pushed it. Set image.registry to docker.io/<your namespace>." $image) -}}
{{- end -}}
{{- end -}}

{{- define "minchat-bridge.problems.destinations" -}}
{{- $secrets := .root.Values.secrets -}}
{{- if not (or .config.kafka (hasKey .config "amqp") .config.file $secrets.amqp.login.existingSecret) -}}
{{- include "minchat-bridge.problem" (printf "There is nowhere to publish to. Set config.kafka.bootstrap_servers, or config.amqp.uri, or secrets.amqp.login.existingSecret, or config.file.dir: %s/events." (include "minchat-bridge.dataDir" .root)) -}}
{{- end -}}
{{- if and .config.kafka (not .config.kafka.bootstrap_servers) -}}
{{- include "minchat-bridge.problem" "config.kafka has no bootstrap_servers. Set config.kafka.bootstrap_servers, such as my-cluster-kafka-bootstrap:9092." -}}
{{- end -}}
{{- $kafka := $secrets.kafka -}}
{{- if and (not .config.kafka) (or $kafka.login.existingSecret $kafka.certificate.existingSecret $kafka.ca.existingSecret) -}}
{{- include "minchat-bridge.problem" "secrets.kafka names a Secret, and there is no config.kafka. Set config.kafka.bootstrap_servers." -}}
{{- end -}}
{{- end -}}

{{- define "minchat-bridge.problems.credentials" -}}
{{- $root := .root -}}
{{- $found := include "minchat-bridge.tokenSecrets" $root | fromYaml -}}
{{- range $name, $source := .config.sources -}}
{{- $auth := default dict (default dict $source).auth -}}
{{- if not (or (hasKey $found $name) $auth) -}}
{{- include "minchat-bridge.problem" (printf "The source %s has no credentials, so that nobody could post. Make a Secret with its tokens, kubectl create secret generic minchat-tokens --namespace %s --from-literal=tokens=\"$(openssl rand -hex 32)\", and set secrets.tokens.existingSecret=minchat-tokens; or set config.sources.%s.auth.none=true to let everybody in." $name (include "minchat-bridge.namespace" $root) $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := $root.Values.secrets.tokens.sources -}}
{{- if not (hasKey $.config.sources $name) -}}
{{- include "minchat-bridge.problem" (printf "secrets.tokens.sources.%s has tokens for a source that config.sources doesn't name. Add config.sources.%s, or drop it." $name $name) -}}
{{- else if not (hasKey $found $name) -}}
{{- include "minchat-bridge.problem" (printf "secrets.tokens.sources.%s names no Secret. Set secrets.tokens.sources.%s.existingSecret or secrets.tokens.existingSecret." $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "minchat-bridge.problems.logins" -}}
{{- $kafka := default dict .config.kafka -}}
{{- $login := .root.Values.secrets.kafka.login -}}
{{- $tls := or .root.Values.secrets.kafka.certificate.existingSecret .root.Values.secrets.kafka.ca.existingSecret -}}
{{- $protocol := default "plaintext" $kafka.security_protocol -}}
{{- $sasl := default dict $kafka.sasl -}}
{{- if and $kafka $login.existingSecret (not (hasPrefix "sasl_" $protocol)) -}}
{{- include "minchat-bridge.problem" (printf "secrets.kafka.login names a Secret, and config.kafka.security_protocol is %s, which does not log in. Set it to sasl_ssl or sasl_plaintext." $protocol) -}}
{{- end -}}
{{- if and $kafka $tls (not (hasSuffix "ssl" $protocol)) -}}
{{- include "minchat-bridge.problem" (printf "secrets.kafka has certificates, and config.kafka.security_protocol is %s, which has no TLS. Set it to ssl or sasl_ssl." $protocol) -}}
{{- end -}}
{{- if and (hasPrefix "sasl_" $protocol) (not (or $login.existingSecret $sasl.password_file $sasl.oauth)) -}}
{{- include "minchat-bridge.problem" (printf "config.kafka.security_protocol is %s, and there is no password. Set secrets.kafka.login.existingSecret." $protocol) -}}
{{- end -}}
{{- if and $kafka $login.existingSecret (not (or $login.usernameKey $sasl.username $sasl.oauth)) -}}
{{- include "minchat-bridge.problem" "secrets.kafka.login has a password, and there is no user. Set config.kafka.sasl.username (for Strimzi, the name of the KafkaUser and of its Secret), or secrets.kafka.login.usernameKey." -}}
{{- end -}}
{{- $amqp := default dict .config.amqp -}}
{{- $secrets := .root.Values.secrets.amqp -}}
{{- $rabbit := $secrets.login -}}
{{- $on := or (hasKey .config "amqp") $rabbit.existingSecret $secrets.certificate.existingSecret $secrets.ca.existingSecret -}}
{{- if and $on (not (or $amqp.uri $amqp.uris)) (not (and $rabbit.existingSecret $rabbit.usernameKey $rabbit.hostKey $rabbit.portKey)) -}}
{{- include "minchat-bridge.problem" "There is no address for AMQP. Set config.amqp.uri, or secrets.amqp.login.existingSecret to a Secret with user, host and port." -}}
{{- end -}}
{{- end -}}

{{- define "minchat-bridge.problems.listeners" -}}
{{- range $section := list "http" "admin" -}}
{{- $listen := toString (dig $section "listen" "" $.config) -}}
{{- if not (regexMatch ":[0-9]+$" $listen) -}}
{{- include "minchat-bridge.problem" (printf "config.%s.listen is %q, and not an address with a port, such as 0.0.0.0:8080." $section $listen) -}}
{{- else if regexMatch "^(127[.]|\\[::1\\])" $listen -}}
{{- include "minchat-bridge.problem" (printf "config.%s.listen is %s, which nothing outside of the pod can reach. Listen on 0.0.0.0 or [::]." $section $listen) -}}
{{- end -}}
{{- end -}}
{{- if eq (include "minchat-bridge.httpPort" .root) (include "minchat-bridge.adminPort" .root) -}}
{{- include "minchat-bridge.problem" "config.http.listen and config.admin.listen have the same port. The admin port is not for the public." -}}
{{- end -}}
{{- end -}}

{{- define "minchat-bridge.problems.scaling" -}}
{{- $values := .root.Values -}}
{{- if and $values.autoscaling.enabled (include "minchat-bridge.spool" .root) -}}
{{- include "minchat-bridge.problem" "autoscaling.enabled and the spool don't go together: a replica that is taken away would leave the events in its spool behind. Set replicaCount and autoscaling.enabled=false, or turn the spool off by config.spool.max_size=0, which refuses webhooks while a broker is away." -}}
{{- end -}}
{{- if gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas) -}}
{{- include "minchat-bridge.problem" "autoscaling.minReplicas is more than autoscaling.maxReplicas." -}}
{{- end -}}
{{- $budget := $values.podDisruptionBudget -}}
{{- if eq (kindIs "invalid" $budget.maxUnavailable) (kindIs "invalid" $budget.minAvailable) -}}
{{- include "minchat-bridge.problem" "podDisruptionBudget needs one of maxUnavailable and minAvailable. Set the other to null." -}}
{{- end -}}
{{- if and $values.monitoring.serviceMonitor.enabled $values.monitoring.podMonitor.enabled -}}
{{- include "minchat-bridge.problem" "monitoring.serviceMonitor and monitoring.podMonitor would scrape every pod twice. Enable one of them." -}}
{{- end -}}
{{- end -}}

{{/* The last links of the bridge's chain of time-outs. The 3 s are its flush at the end. */}}
{{- define "minchat-bridge.problems.stop" -}}
{{- $delay := dig "http" "stop_delay" "0s" .config -}}
{{- $shutdown := dig "http" "shutdown_timeout" "12s" .config -}}
{{- $sum := addf (include "minchat-bridge.seconds" $delay | float64) (include "minchat-bridge.seconds" $shutdown | float64) 3 -}}
{{- if ge $sum (float64 .root.Values.terminationGracePeriodSeconds) -}}
{{- include "minchat-bridge.problem" (printf "terminationGracePeriodSeconds is %d, and config.http.stop_delay (%v), config.http.shutdown_timeout (%v) and a flush (3s) take as long, so that a stop would be cut off. Set it above %v." (int .root.Values.terminationGracePeriodSeconds) $delay $shutdown $sum) -}}
{{- end -}}
{{- end -}}

{{/* What is written to has to be on a volume: the root is read-only. */}}
{{- define "minchat-bridge.problems.directories" -}}
{{- $data := include "minchat-bridge.dataDir" .root -}}
{{- $spool := include "minchat-bridge.spool" .root -}}
{{- $mounts := list -}}
{{- if $spool }}{{ $mounts = append $mounts $data }}{{ end -}}
{{- range .root.Values.extraVolumeMounts }}{{ $mounts = append $mounts .mountPath }}{{ end -}}
{{- range $section := list "spool" "file" -}}
{{- $dir := dig $section "dir" "" $.config -}}
{{- if or (and (eq $section "spool") $spool) (and (eq $section "file") $.config.file) -}}
{{- $held := false -}}
{{- range $mounts }}{{ if or (eq $dir .) (hasPrefix (printf "%s/" (trimSuffix "/" .)) $dir) }}{{ $held = true }}{{ end }}{{ end -}}
{{- if not $held -}}
{{- include "minchat-bridge.problem" (printf "config.%s.dir is %q, which is on no volume. %s" $section $dir (ternary (printf "Put it under %s, or mount a volume of yours by extraVolumes and extraVolumeMounts." $data) "With the spool off there is no volume: mount one of yours by extraVolumes and extraVolumeMounts." (ne $spool ""))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $most := include "minchat-bridge.mebibytes" (dig "spool" "max_size" "1GiB" .config) -}}
{{- $size := include "minchat-bridge.mebibytes" .root.Values.persistence.size -}}
{{- $free := dig "spool" "keep_free" "5%" .config | toString | trimSuffix "%" | float64 -}}
{{- if and $spool $most $size (gt (float64 $most) (mulf (float64 $size) (subf 1 (divf $free 100)))) -}}
{{- include "minchat-bridge.problem" (printf "config.spool.max_size is %v, and persistence.size is %s, of which %v%% are kept free. Make the volume larger, or the spool smaller." (dig "spool" "max_size" "1GiB" .config) .root.Values.persistence.size $free) -}}
{{- end -}}
{{- end -}}

{{- define "minchat-bridge.problems.exposure" -}}
{{- $values := .root.Values -}}
{{- if and $values.ingress.enabled (not $values.ingress.hosts) -}}
{{- include "minchat-bridge.problem" "ingress.enabled, and ingress.hosts is empty. Set ingress.hosts[0].host." -}}
{{- end -}}
{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) -}}
{{- include "minchat-bridge.problem" "httpRoute.enabled, and httpRoute.parentRefs is empty. Set httpRoute.parentRefs[0].name to your Gateway's." -}}
{{- end -}}
{{- if and $values.service.nodePort (eq $values.service.type "ClusterIP") -}}
{{- include "minchat-bridge.problem" "service.nodePort needs service.type NodePort or LoadBalancer." -}}
{{- end -}}
{{- end -}}
