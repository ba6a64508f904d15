"""What a comparison leaves behind: tables, plots, and one self-contained page."""

from sde_diffusion.report.comparison import Comparison
from sde_diffusion.report.write import write_report

__all__ = ["Comparison", "write_report"]
