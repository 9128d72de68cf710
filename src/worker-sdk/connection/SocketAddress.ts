/**
 * Addresses of planes that are no port but a socket in the file system: `unix:/path` (WebSocket) and `grpc+unix:/path`
 * (gRPC). A worker without any network reaches its plane that way.
 *
 * The path is taken as it stands: nothing in it is decoded, so that every path can be written.
 *
 * @module
 */

const pattern = /^(unix|grpc\+unix):(?:\/\/)?(\/(?!\/).*)$/su

/** Absolute path of the socket; `undefined`: the address is none of a socket. */
export const pathOf = (address: string): string | undefined => pattern.exec(address)?.[2]

export const isGrpc = (address: string): boolean => pattern.exec(address)?.[1] === "grpc+unix"
