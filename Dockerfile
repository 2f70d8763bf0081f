# A static binary in an empty image: nothing to patch but Torwart itself. Compiled with a profile of what it does most
# (docs/performance.md, "The profile"); its checksum is there so that cargo builds anew when it changes.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN profile=benches/profile/torwart.profdata && RUSTFLAGS="-C target-feature=+crt-static -C profile-use=$PWD/$profile --cfg profile_$(cksum <$profile | cut -d' ' -f1)" cargo build --release --locked --target "$(uname -m)-unknown-linux-gnu" && mkdir -p target/image && cp "target/$(uname -m)-unknown-linux-gnu/release/torwart" target/image/torwart

# Configuration and policies belong into /etc/torwart; nothing else is read, nothing is written unless configured.
FROM scratch
COPY --from=build /src/target/image/torwart /torwart
USER 65532:65532
WORKDIR /etc/torwart
EXPOSE 8443 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/torwart", "health"]
ENTRYPOINT ["/torwart"]
CMD ["run"]
