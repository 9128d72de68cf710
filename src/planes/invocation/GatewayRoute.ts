/**
 * What a request line and a host mean: which function is called on which path, or which request is asked about. That
 * they are well-formed is looked at before, in `HttpDoor`.
 *
 * @module
 */
import type { IncomingMessage } from "node:http"
import type { Route, RoutingTable } from "../control/RoutingTable.ts"
import { methodsServed } from "../HttpDoor.ts"
import {
  badRequest,
  methodNotAllowed,
  notServed,
  type Problem,
  quote,
  unknownFunction,
  unknownRoute
} from "./Problem.ts"
import { isUuid } from "./RequestId.ts"

export type GatewayRoute =
  /** `surface`: how it was addressed; decides about polling, wrapping and CORS. */
  | {
      readonly kind: "invoke"
      readonly surface: "path" | "host" | "pexec" | "exec"
      readonly route: Route
      /** For the function. */
      readonly path: string
    }
  | { readonly kind: "status"; readonly wrapped: boolean; readonly requestId: string }
  | { readonly kind: "request"; readonly requestId: string; readonly part: "view" | "result" | "cancel" }
  | { readonly kind: "health" }
  | { readonly kind: "preflight"; readonly allow: string }
  | { readonly kind: "problem"; readonly problem: Problem }

const wrong = (problem: Problem): GatewayRoute => ({ kind: "problem", problem })

export const resolve = (request: IncomingMessage, routes: RoutingTable): GatewayRoute => {
  const method = request.method ?? "GET"
  let target = request.url ?? "/"
  const host = request.headers.host ?? ""
  if (target === "*" && method === "OPTIONS") return { kind: "preflight", allow: methodsServed }
  if (!target.startsWith("/")) {
    const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(target)
    if (absolute === null) return wrong(badRequest(`The request target ${quote(target)} is neither a path nor a URL.`))
    if (absolute[1] === "") return wrong(badRequest("The request target has an empty host: name one, or send a path."))
    if (absolute[1]?.toLowerCase() !== host.toLowerCase()) {
      return wrong(badRequest("The host in the request target is another one than in the Host header."))
    }
    target = absolute[2]?.startsWith("/") ? absolute[2] : `/${absolute[2] ?? ""}`
  }
  return byHeader(request, target, routes) ?? byHost(host, target, routes) ?? byPath(method, target, routes)
}

const invokeOn = (surface: "host" | "path", route: Route | undefined, name: string, path: string): GatewayRoute =>
  route === undefined ? wrong(unknownFunction(name)) : { kind: "invoke", surface, route, path }

const byHeader = (request: IncomingMessage, target: string, routes: RoutingTable): GatewayRoute | undefined => {
  const functionId = request.headers["function-id"]
  // The parser joins repeated ones.
  if (typeof functionId === "string" && functionId.includes(", ") && functionId.split(", ").some(isUuid)) {
    return wrong(badRequest("The header Function-Id must be there once: two of them might mean two functions."))
  }
  if (typeof functionId !== "string" || !isUuid(functionId)) return undefined
  const versionId = request.headers["function-version-id"]
  const route =
    typeof versionId === "string" && isUuid(versionId)
      ? ofFunction(routes.byVersionId(versionId.toLowerCase()), functionId)
      : routes.byFunctionId(functionId.toLowerCase())
  return invokeOn("host", route, functionId, target)
}

/** `{functionId}.rest`, or `{versionId}.{functionId}.rest` with any one character between the two. */
const byHost = (host: string, target: string, routes: RoutingTable): GatewayRoute | undefined => {
  if (host.length < 37 || !isUuid(host.slice(0, 36))) return undefined
  const first = host.slice(0, 36).toLowerCase()
  const second = host.slice(37, 73).toLowerCase()
  if (isUuid(second)) return invokeOn("host", ofFunction(routes.byVersionId(first), second), second, target)
  return host[36] === "." ? invokeOn("host", routes.byFunctionId(first), first, target) : undefined
}

const ofFunction = (route: Route | undefined, functionId: string): Route | undefined =>
  route?.functionId === functionId.toLowerCase() ? route : undefined

const byPath = (method: string, target: string, routes: RoutingTable): GatewayRoute => {
  if (target.startsWith("/f/")) return byName(target, routes)
  const query = target.indexOf("?")
  const path = query < 0 ? target : target.slice(0, query)
  if (path === "/health" || path === "/healthz") return { kind: "health" }
  if (method === "OPTIONS") return { kind: "preflight", allow: methodsAt(path) }
  if (path.startsWith("/v2/nvcf/")) return byNvcfPath(method, path, routes)
  const request = /^\/requests\/([^/]+)(?:\/(result|cancel))?$/.exec(path)
  if (request !== null) return aboutRequest(method, request[1] ?? "", request[2])
  return wrong(unknownRoute(path))
}

const methodsAt = (path: string): string => {
  if (/^\/v2\/nvcf\/(?:exec|pexec)\/functions\//.test(path) || path.endsWith("/cancel")) return "POST"
  return /^\/requests\/[^/]+$/.test(path) ? "GET, HEAD, DELETE" : "GET"
}

/** `/f/{name}/any/path?query`: the function sees `/any/path?query`. */
const byName = (target: string, routes: RoutingTable): GatewayRoute => {
  let end = 3
  while (end < target.length && target[end] !== "/" && target[end] !== "?") end++
  const name = target.slice(3, end)
  const rest = target.slice(end)
  return invokeOn("path", routes.byName(name), name, rest.startsWith("/") ? rest : `/${rest}`)
}

const byNvcfPath = (method: string, path: string, routes: RoutingTable): GatewayRoute => {
  const call = /^\/v2\/nvcf\/(exec|pexec)\/functions\/([^/]+)(?:\/versions\/([^/]+))?$/.exec(path)
  if (call !== null) {
    if (method !== "POST") return wrong(methodNotAllowed("POST"))
    const [, surface, functionId = "", versionId] = call
    if (!isUuid(functionId)) return wrong(badRequest(`The function id ${quote(functionId)} is not a UUID.`))
    if (versionId !== undefined && !isUuid(versionId)) {
      return wrong(badRequest(`The version id ${quote(versionId)} is not a UUID.`))
    }
    const route =
      versionId === undefined
        ? routes.byFunctionId(functionId.toLowerCase())
        : ofFunction(routes.byVersionId(versionId.toLowerCase()), functionId)
    if (route === undefined) return wrong(unknownFunction(versionId ?? functionId))
    return { kind: "invoke", surface: surface === "exec" ? "exec" : "pexec", route, path: route.version.inferencePath }
  }
  const status = /^\/v2\/nvcf\/(exec|pexec)\/status\/([^/]+)$/.exec(path)
  if (status !== null) {
    if (method !== "GET") return wrong(methodNotAllowed("GET"))
    const requestId = status[2] ?? ""
    if (!isUuid(requestId)) return wrong(badRequest(`The request id ${quote(requestId)} is not a UUID.`))
    return { kind: "status", wrapped: status[1] === "exec", requestId: requestId.toLowerCase() }
  }
  return wrong(notServed(`The route ${quote(path)}`))
}

const aboutRequest = (method: string, id: string, part: string | undefined): GatewayRoute => {
  if (!isUuid(id)) return wrong(badRequest(`The request id ${quote(id)} is not a UUID.`))
  const requestId = id.toLowerCase()
  if (part === "cancel") {
    return method === "POST" ? { kind: "request", requestId, part: "cancel" } : wrong(methodNotAllowed("POST"))
  }
  if (part === "result") {
    return method === "GET" || method === "HEAD"
      ? { kind: "request", requestId, part: "result" }
      : wrong(methodNotAllowed("GET, HEAD"))
  }
  if (method === "DELETE") return { kind: "request", requestId, part: "cancel" }
  return method === "GET" || method === "HEAD"
    ? { kind: "request", requestId, part: "view" }
    : wrong(methodNotAllowed("GET, HEAD, DELETE"))
}
