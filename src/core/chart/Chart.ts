/**
 * A Helm function as somebody deploys it: the chart, rendered already or to be fetched and rendered, and the Service in it
 * that answers its calls.
 *
 * @module
 */
import * as Schema from "effect/Schema"

/** Orders carry it, so it is far below what a message may have. */
export const manifestsLengthMax = 262_144
const valuesLengthMax = 65_536
const extraKindsMax = 100

/** As NVCF asks where nothing else is said. */
export const healthPathDefault = "/v2/health/ready"

const Word = (lengthMax: number) =>
  Schema.String.check(Schema.isMaxLength(lengthMax), Schema.isPattern(/^[\x21-\x7e]*$/))

export const ValidationPolicy = Schema.Struct({
  name: Schema.Literals(["Default", "Unrestricted"]),
  extraKubernetesTypes: Schema.optionalKey(
    Schema.Array(Schema.Struct({ group: Word(253), version: Word(63), kind: Word(63) })).check(
      Schema.isMinLength(1),
      Schema.isMaxLength(extraKindsMax)
    )
  )
})

export const HealthPath = Schema.String.check(Schema.isMaxLength(2_048), Schema.isPattern(/^\/[\x21-\x7e]*$/)).annotate(
  {
    description: "begins with /; visible ASCII, at most 2048 characters"
  }
)
export const Port = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65_535 }))

export const Chart = Schema.Struct({
  /** `https://.../NAME-X.Y.Z.tgz` or `oci://...`; rendered where it runs. */
  url: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(2_048))),
  /** The chart as rendered, documents of YAML. */
  manifests: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(manifestsLengthMax))),
  /** Of a chart by `url`: what its own values are overridden with. */
  values: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json)),
  /** Service of the chart that calls go to, and its port. */
  serviceName: Schema.String.check(
    Schema.isPattern(/^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/, {
      message: "expected the name of a Service: 1 to 63 of a-z, 0-9 and -, a letter first, not - at the end"
    })
  ),
  servicePort: Port,
  /** Of that Service: answers 2xx when it takes calls. Absent = `/v2/health/ready`. */
  healthPath: Schema.optionalKey(HealthPath),
  /** Absent = `Default`. */
  validationPolicy: Schema.optionalKey(ValidationPolicy)
}).check(
  Schema.makeFilter(({ url, manifests, values }) => {
    if ((url === undefined) === (manifests === undefined)) {
      return { path: ["manifests"], issue: "a chart has a url or manifests, one of the two" }
    }
    if (values === undefined) return undefined
    if (url === undefined) return { path: ["values"], issue: "rendered manifests take no values" }
    const { length } = JSON.stringify(values)
    return length <= valuesLengthMax
      ? undefined
      : { path: ["values"], issue: `they are ${length} characters of JSON, and ${valuesLengthMax} are the most` }
  })
)
export type Chart = typeof Chart.Type
