{{/* Seconds of a duration as the bridge writes it, such as 250ms; nothing for what is none. */}}
{{- define "minchat-bridge.seconds" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9]+([.][0-9]+)?" $text -}}
{{- $factor := get (dict "us" 0.000001 "µs" 0.000001 "ms" 0.001 "s" 1 "m" 60 "h" 3600) (trimPrefix $number $text | trim) -}}
{{- if eq $text "0" -}}
0
{{- else if and $number $factor -}}
{{- mulf (float64 $number) $factor -}}
{{- end -}}
{{- end -}}

{{/* MiB of a size as the bridge writes it, such as 1.5GiB, or as Kubernetes does, such as 2Gi; nothing for what is neither. */}}
{{- define "minchat-bridge.mebibytes" -}}
{{- $text := toString . -}}
{{- if kindIs "float64" . }}{{ $text = printf "%.0f" . }}{{ end -}}
{{- $number := regexFind "^[0-9]+([.][0-9]+)?" $text -}}
{{- $unit := trimPrefix $number $text | trim | trimSuffix "B" -}}
{{- $bytes := dict "" 1 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624
      "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "P" 1000000000000000 -}}
{{- if and $number (hasKey $bytes $unit) -}}
{{- divf (mulf (float64 $number) (get $bytes $unit)) 1048576 -}}
{{- end -}}
{{- end -}}
