"""What is recorded of a machine, from made-up /proc and /sys trees."""

from __future__ import annotations

from pathlib import Path

from bas_edge.conditions import installed_version, machine_conditions


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_a_desktop(tmp_path: Path) -> None:
    cpufreq = "sys/devices/system/cpu/cpu0/cpufreq"
    root = write(
        tmp_path,
        {
            "proc/cpuinfo": "model name\t: Fast CPU 9\ncpu MHz\t: 1.0\nflags\t: fpu avx2 sse4_1\n",
            f"{cpufreq}/scaling_governor": "performance\n",
            f"{cpufreq}/scaling_cur_freq": "2400000\n",
            f"{cpufreq}/cpuinfo_max_freq": "4800000\n",
            "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
            "sys/class/thermal/thermal_zone0/temp": "51500\n",
            "sys/class/thermal/thermal_zone1/type": "broken\n",
            "sys/class/thermal/thermal_zone1/temp": "\n",
        },
    )
    found = machine_conditions(root)
    assert found["cpu"] == "Fast CPU 9"
    assert found["cpu_features"] == ["sse4_1", "avx2"]
    assert found["governor"] == "performance"
    assert (found["clock_mhz"], found["clock_max_mhz"]) == (2400, 4800)
    assert found["temperature_c"] == {"x86_pkg_temp": 51.5}


def test_an_arm_board(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/cpuinfo": "processor : 0\nFeatures\t: fp asimd asimddp\n",
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano\x00",
        },
    )
    found = machine_conditions(root)
    assert found["cpu"] == "NVIDIA Jetson Orin Nano"
    assert found["cpu_features"] == ["asimd", "asimddp"]


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    found = machine_conditions(tmp_path)
    assert not {"cpu_features", "governor", "clock_mhz", "temperature_c"} & set(found)
    assert None not in found.values()


def test_versions() -> None:
    assert installed_version("numpy")
    assert installed_version("no-such-distribution") is None
