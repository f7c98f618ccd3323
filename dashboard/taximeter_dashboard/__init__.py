"""Streamlit pages over the collector's read API."""
